"""The typed errors that statuses become, as one JSON array. errors.mjs sees the same."""

import json
import os

import openai


def error(case):
    client = openai.OpenAI(base_url=case["base_url"], api_key=case["key"], max_retries=0)
    messages = [{"role": "user", "content": "x" * case["characters"]}] if case["characters"] else []
    try:
        client.chat.completions.create(model=case["model"], messages=messages)
    except openai.APIStatusError as error:
        return {
            "class": type(error).__name__,
            "status": error.status_code,
            "code": error.code,
            "type": error.type,
            "retry_after": error.response.headers.get("retry-after") is not None,
            "is_told": error.body["message"] in str(error),
        }


print(json.dumps([error(case) for case in json.loads(os.environ["CASES"])]))
