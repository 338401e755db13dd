curl https://modelhub-api.com/v1/chat/completions \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer mh-sk-your-key" \
  -d '{
    "model": "deepseek-v4-flash",
    "messages": [{"role": "user", "content": "Hello!"}]
  }'
