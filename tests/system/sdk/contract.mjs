// What a program sees of ModelHub through the official SDK, as one JSON object. contract.py sees the same.

import OpenAI from "openai";

const DOCUMENTED = [
  { role: "system", content: "You are a helpful assistant." },
  { role: "user", content: "Hello!" },
];
const FLASH = { model: "deepseek-v4-flash", messages: DOCUMENTED };

let requests = 0;

// The SDK's own retries, with an eye on what it sends.
const client = new OpenAI({
  baseURL: process.env.BASE_URL,
  apiKey: process.env.API_KEY,
  fetch: (...request) => {
    requests += 1;
    return fetch(...request);
  },
});
const create = (body, on = client) => on.chat.completions.create(body);

const tokens = (usage) => [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens];

// The text of each cost, before any parser makes a float of it.
const costs = (text) => [...text.matchAll(/"cost_usd":([^,}]*)/g)].map((match) => match[1]);

async function whole() {
  const text = await (await create(FLASH).asResponse()).text();
  const completion = await create(FLASH);
  const [choice, ...others] = completion.choices;
  if (others.length > 0) throw new Error("more than one choice");
  return {
    text: choice.message.content,
    role: choice.message.role,
    finish_reason: choice.finish_reason,
    tokens: tokens(completion.usage),
    costs: costs(text),
  };
}

async function stream(options) {
  const request = { ...FLASH, stream: true, ...options };
  const seen = { text: "", pieces: 0, finish_reasons: [], without_choices: 0, tokens: [] };
  for await (const chunk of await create(request)) {
    if (chunk.choices.length === 0) seen.without_choices += 1;
    if (chunk.usage) seen.tokens.push(tokens(chunk.usage));
    for (const choice of chunk.choices) {
      if (choice.delta.content) {
        seen.pieces += 1;
        seen.text += choice.delta.content;
      }
      if (choice.finish_reason) seen.finish_reasons.push(choice.finish_reason);
    }
  }
  const text = await (await create(request).asResponse()).text();
  return { ...seen, costs: costs(text) };
}

async function error(call) {
  const before = requests;
  try {
    await call();
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    return {
      class: error.constructor.name,
      status: error.status,
      code: error.code,
      type: error.type,
      param: error.param,
      is_told: error.message.includes(error.error.message),
      requests: requests - before,
    };
  }
}

async function usedUp() {
  const dear = { model: "dear", messages: DOCUMENTED };
  const last = await create(dear);
  const [choice] = last.choices;
  return {
    last_answer: [choice.message.content, choice.finish_reason, ...tokens(last.usage)],
    error: await error(() => create(dear)),
  };
}

const models = [];
for await (const model of client.models.list()) models.push(model.id);

console.log(JSON.stringify({
  models,
  whole: await whole(),
  stream: await stream({}),
  stream_with_usage: await stream({ stream_options: { include_usage: true } }),
  wrong_key: await error(() => create(FLASH, client.withOptions({ apiKey: "mh-sk-wrong" }))),
  unknown_model: await error(() => create({ model: "no-such-model", messages: DOCUMENTED })),
  no_messages: await error(() => create({ model: "deepseek-v4-flash", messages: [] })),
  used_up: await usedUp(),
}));
