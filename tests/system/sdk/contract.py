"""What a program sees of ModelHub through the official SDK, as one JSON object. contract.mjs sees the same."""

import json
import os
import re

import openai

DOCUMENTED = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Hello!"},
]
FLASH = {"model": "deepseek-v4-flash", "messages": DOCUMENTED}

requests = 0


def count(_request):
    global requests
    requests += 1


# The SDK's own client and retries, with an eye on what it sends.
http = openai.DefaultHttpxClient(event_hooks={"request": [count]})
client = openai.OpenAI(base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"], http_client=http)
create = client.chat.completions.create


def tokens(usage):
    return [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens]


def costs(text):
    """The text of each cost, before any parser makes a float of it."""
    return re.findall(r'"cost_usd":([^,}]*)', text)


def whole():
    text = client.chat.completions.with_raw_response.create(**FLASH).text
    completion = create(**FLASH)
    [choice] = completion.choices
    return {
        "text": choice.message.content,
        "role": choice.message.role,
        "finish_reason": choice.finish_reason,
        "tokens": tokens(completion.usage),
        "costs": costs(text),
    }


def stream(**options):
    text, finish_reasons, pieces, without_choices, usages = "", [], 0, 0, []
    for chunk in create(**FLASH, stream=True, **options):
        without_choices += not chunk.choices
        if chunk.usage:
            usages.append(tokens(chunk.usage))
        for choice in chunk.choices:
            if choice.delta.content:
                pieces += 1
                text += choice.delta.content
            if choice.finish_reason:
                finish_reasons.append(choice.finish_reason)
    with client.chat.completions.with_streaming_response.create(**FLASH, stream=True, **options) as raw:
        sent = raw.read().decode()
    return {
        "text": text,
        "pieces": pieces,
        "finish_reasons": finish_reasons,
        "without_choices": without_choices,
        "tokens": usages,
        "costs": costs(sent),
    }


def error(call):
    before = requests
    try:
        call()
    except openai.APIStatusError as error:
        return {
            "class": type(error).__name__,
            "status": error.status_code,
            "code": error.code,
            "type": error.type,
            "param": error.param,
            "is_told": error.body["message"] in str(error),
            "requests": requests - before,
        }


def used_up():
    dear = {"model": "dear", "messages": DOCUMENTED}
    last = create(**dear)
    return {
        "last_answer": [last.choices[0].message.content, last.choices[0].finish_reason, *tokens(last.usage)],
        "error": error(lambda: create(**dear)),
    }


print(json.dumps({
    "models": [model.id for model in client.models.list()],
    "whole": whole(),
    "stream": stream(),
    "stream_with_usage": stream(stream_options={"include_usage": True}),
    "wrong_key": error(lambda: client.with_options(api_key="mh-sk-wrong").chat.completions.create(**FLASH)),
    "unknown_model": error(lambda: create(model="no-such-model", messages=DOCUMENTED)),
    "no_messages": error(lambda: create(model="deepseek-v4-flash", messages=[])),
    "used_up": used_up(),
}))
