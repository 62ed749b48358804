// OpenAI's own client against cdcca-edge serve, unchanged: only its base URL is ours.
//   node openai.mjs BASE_URL PICTURE.png
// Prints the id of the last answer, for the test to correct.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import OpenAI from "openai";

const [baseURL, file] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "not needed", maxRetries: 0 });
const url = `data:image/png;base64,${readFileSync(file).toString("base64")}`;
const messages = [
  {
    role: "user",
    content: [
      { type: "text", text: "what color is it?" },
      { type: "image_url", image_url: { url } },
    ],
  },
];

// models
const models = await client.models.list();
assert.equal(models.data[0].object, "model");
assert.match(models.data[0].id, /^student@\d+$/);
const model = models.data[0].id;
assert.deepEqual(await client.models.retrieve(model), models.data[0]);
assert.deepEqual(await client.models.retrieve("student"), models.data[0]);
await assert.rejects(client.models.retrieve("gpt-4o"), (error) => {
  assert.ok(error instanceof OpenAI.NotFoundError);
  assert.equal(error.code, "model_not_found");
  return true;
});

// an answer
const whole = await client.chat.completions.create({ model, messages });
assert.equal(whole.object, "chat.completion");
assert.equal(whole.model, model);
const text = whole.choices[0].message.content;
assert.equal(typeof text, "string");
assert.ok(["stop", "length"].includes(whole.choices[0].finish_reason));
assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens);
assert.ok(whole.cdcca.entropy >= 0);
assert.ok(whole._request_id);

// the same as a stream
const stream = await client.chat.completions.create({
  model: "student",
  messages,
  stream: true,
  stream_options: { include_usage: true },
});
const pieces = [];
let finish, usage;
for await (const chunk of stream) {
  assert.equal(chunk.object, "chat.completion.chunk");
  pieces.push(chunk.choices[0]?.delta?.content ?? "");
  finish = chunk.choices[0]?.finish_reason ?? finish;
  usage = chunk.usage ?? usage;
}
assert.equal(pieces.join(""), text);
assert.equal(finish, whole.choices[0].finish_reason);
assert.deepEqual(usage, whole.usage);

// the client's own helper, which checks the chunks against each other
const runner = client.chat.completions.stream({ model, messages });
assert.equal(await runner.finalContent(), text);

// a reader who leaves early does not stop the others
const left = await client.chat.completions.create({ model, messages, stream: true });
for await (const chunk of left) {
  assert.ok(chunk.id);
  break;
}

// log-probabilities
const scored = await client.chat.completions.create({
  model,
  messages,
  logprobs: true,
  top_logprobs: 5,
  max_completion_tokens: 3,
});
for (const token of scored.choices[0].logprobs.content) {
  assert.equal(typeof token.token, "string");
  assert.ok(token.logprob <= 0);
  assert.equal(token.top_logprobs.length, 5);
  assert.equal(token.top_logprobs[0].logprob, token.logprob); // greedy
  assert.ok(Array.isArray(token.bytes));
}
assert.equal(
  Buffer.from(scored.choices[0].logprobs.content.flatMap((t) => t.bytes)).toString().trimStart(),
  scored.choices[0].message.content,
);

// sampling, reproducibly
const draw = { model, messages, temperature: 1.5, top_p: 0.9, seed: 7, max_tokens: 8 };
const first = await client.chat.completions.create(draw);
const again = await client.chat.completions.create(draw);
assert.equal(first.choices[0].message.content, again.choices[0].message.content);

// several at once
const many = await Promise.all(
  Array.from({ length: 8 }, () => client.chat.completions.create({ model, messages })),
);
assert.equal(new Set(many.map((one) => one.id)).size, 8);
assert.ok(many.every((one) => one.choices[0].message.content === text));

// errors are the client's error types, with the field at fault
const fails = async (type, status, param, request) => {
  await assert.rejects(
    client.chat.completions.create({ model, messages, ...request }),
    (error) => {
      assert.ok(error instanceof type, `${error.constructor.name}: ${error.message}`);
      assert.equal(error.status, status);
      assert.equal(error.param, param);
      assert.equal(error.type, "invalid_request_error");
      assert.ok(error.message.length > 5);
      return true;
    },
  );
};
await fails(OpenAI.NotFoundError, 404, "model", { model: "gpt-4o" });
await fails(OpenAI.BadRequestError, 400, "n", { n: 2 });
await fails(OpenAI.BadRequestError, 400, "tools", { tools: [] });
await fails(OpenAI.BadRequestError, 400, "temperature", { temperature: 3 });
await fails(OpenAI.BadRequestError, 400, "messages", {
  messages: [{ role: "user", content: "no picture" }],
});
await fails(OpenAI.BadRequestError, 400, "messages", {
  stream: true,
  messages: [
    {
      role: "user",
      content: [
        { type: "text", text: "x" },
        { type: "image_url", image_url: { url: "https://example.com/x.png" } },
      ],
    },
  ],
});

console.log(whole.id);
