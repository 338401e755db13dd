"""What passes through the official SDK's streaming helper and its other features, as one JSON object. features.mjs sees
the same."""

import json
import os

import openai

sent = []
http = openai.DefaultHttpxClient(event_hooks={"request": [lambda request: sent.append(request.read().decode())]})
client = openai.OpenAI(
    base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"], http_client=http, max_retries=0
)
completions = client.chat.completions

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = [
    {
        "type": "function",
        "function": {"name": "weather", "description": "Wetter für eine Stadt", "strict": True, "parameters": SCHEMA},
    }
]
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="


def request(content, **more):
    return {"model": "m", "messages": [{"role": "user", "content": content}], **more}


def shown(completion):
    [choice] = completion.choices
    calls = choice.message.tool_calls or []
    usage = completion.usage
    return {
        "text": choice.message.content,
        "finish_reason": choice.finish_reason,
        "calls": [[call.id, call.function.name, call.function.arguments] for call in calls],
        "tokens": [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens],
    }


def helper(content, **more):
    """Streams ask for usage themselves, so that what is sent is what the upstream gets."""
    options = {"stream_options": {"include_usage": True}}
    with completions.stream(**request(content, **options, **more)) as stream:
        try:
            return shown(stream.get_final_completion())
        except openai.LengthFinishReasonError as error:
            # How this SDK says that an answer was cut, whoever cut it.
            return shown(error.completion)


def whole(content, **more):
    raw = completions.with_raw_response.create(**request(content, **more))
    return {**shown(raw.parse()), "raw": raw.text}


schema = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": SCHEMA}}
image = [{"type": "text", "text": "Was ist das?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
seen = {
    "streamed_text": helper("Grüße"),
    "streamed_call": helper("Weather?", tools=TOOLS),
    "streamed_cut": helper("Count", max_tokens=2),
    "call": whole("Weather?", tools=TOOLS),
    "schema": whole("Where?", response_format=schema),
    "image": whole(image),
}
print(json.dumps({"seen": seen, "sent": sent}))
