import OpenAI from "openai"

const client = new OpenAI({
  baseURL: "https://modelhub-api.com/v1",
  apiKey: "mh-sk-your-key"
})
const response = await client.chat.completions.create({
  model: "deepseek-v4-flash",
  messages: [{ role: "user", content: "Hello!" }]
})
console.log(response.choices[0].message.content)
