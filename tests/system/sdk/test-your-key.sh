curl https://modelhub-api.com/v1/chat/completions \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer YOUR_API_KEY" \
  -d '{"model": "deepseek-v4-flash", "messages": [{"role": "user", "content": "Say hello"}]}'
