# pip install openai
from openai import OpenAI

client = OpenAI(
    base_url="https://modelhub-api.com/v1",
    api_key="mh-sk-your-key"
)
response = client.chat.completions.create(
    model="deepseek-v4-flash",
    messages=[{"role": "user", "content": "Hello!"}]
)
print(response.choices[0].message.content)
