// What passes through the official SDK's streaming helper and its other features, as one JSON object. features.py sees the
// same.

import OpenAI from "openai";

const sent = [];
const client = new OpenAI({
  baseURL: process.env.BASE_URL,
  apiKey: process.env.API_KEY,
  maxRetries: 0,
  fetch: (url, init) => {
    sent.push(init.body);
    return fetch(url, init);
  },
});
const completions = client.chat.completions;

const SCHEMA = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
const TOOLS = [
  {
    type: "function",
    function: { name: "weather", description: "Wetter für eine Stadt", strict: true, parameters: SCHEMA },
  },
];
const PIXEL =
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=";

const request = (content, more) => ({ model: "m", messages: [{ role: "user", content }], ...more });

function shown(completion) {
  const [choice, ...others] = completion.choices;
  if (others.length > 0) throw new Error("more than one choice");
  const usage = completion.usage;
  return {
    text: choice.message.content,
    finish_reason: choice.finish_reason,
    calls: (choice.message.tool_calls ?? []).map((call) => [call.id, call.function.name, call.function.arguments]),
    tokens: [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens],
  };
}

// Streams ask for usage themselves, so that what is sent is what the upstream gets.
async function helper(content, more) {
  const options = { stream_options: { include_usage: true } };
  const stream = completions.stream(request(content, { ...options, ...more }));
  return shown(await stream.finalChatCompletion());
}

async function whole(content, more) {
  const raw = await (await completions.create(request(content, more)).asResponse()).text();
  return { ...shown(JSON.parse(raw)), raw };
}

const schema = { type: "json_schema", json_schema: { name: "place", strict: true, schema: SCHEMA } };
const image = [
  { type: "text", text: "Was ist das?" },
  { type: "image_url", image_url: { url: PIXEL } },
];
const seen = {
  streamed_text: await helper("Grüße"),
  streamed_call: await helper("Weather?", { tools: TOOLS }),
  streamed_cut: await helper("Count", { max_tokens: 2 }),
  call: await whole("Weather?", { tools: TOOLS }),
  schema: await whole("Where?", { response_format: schema }),
  image: await whole(image),
};
console.log(JSON.stringify({ seen, sent }));
