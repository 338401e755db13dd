// The typed errors that statuses become, as one JSON array. errors.py sees the same.

import OpenAI from "openai";

async function error({ base_url, key, model, characters }) {
  const client = new OpenAI({ baseURL: base_url, apiKey: key, maxRetries: 0 });
  const messages = characters ? [{ role: "user", content: "x".repeat(characters) }] : [];
  try {
    await client.chat.completions.create({ model, messages });
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    return {
      class: error.constructor.name,
      status: error.status,
      code: error.code,
      type: error.type,
      retry_after: error.headers.has("retry-after"),
      is_told: error.message.includes(error.error.message),
    };
  }
}

const seen = [];
for (const one of JSON.parse(process.env.CASES)) seen.push(await error(one));
console.log(JSON.stringify(seen));
