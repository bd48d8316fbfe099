// Requests to the server that this page came from.

let token = sessionStorage.getItem("ttame-token") || "";

export const setToken = (text) => {
  token = text;
  sessionStorage.setItem("ttame-token", text);
};

export class Refused extends Error {
  constructor(problem) {
    super(problem.detail || "The server refused it.");
    this.status = problem.status;
  }
}

const headers = () => (token ? { Authorization: `Bearer ${token}` } : {});

const checked = async (response) => {
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Refused({ detail: response.statusText, ...problem, status: response.status });
};

const TRIES = 6;

// A server that is full or starting says when to come back.
const reached = async (address, options, tries = TRIES) => {
  try {
    const response = await fetch(address, { ...options, headers: headers() });
    if (response.status !== 503 || tries <= 1) return response;
    const seconds = Math.min(5, Number(response.headers.get("Retry-After")) || 1);
    await new Promise((done) => { setTimeout(done, 1000 * seconds); });
    options.signal?.throwIfAborted();
    return reached(address, options, tries - 1);
  } catch (problem) {
    if (problem.name === "AbortError" || problem instanceof Refused) throw problem;
    throw new Refused({ detail: "The server cannot be reached.", status: 0 });
  }
};

export const ask = async (address) => (await checked(await reached(address, {}))).json();

const formOf = (fields) => {
  const form = new FormData();
  Object.entries(fields).forEach(([name, value]) => {
    if (value instanceof Blob) form.append(name, value, name);
    else if (Array.isArray(value)) value.forEach((entry) => form.append(name, entry));
    else if (value !== undefined && value !== null) form.append(name, value);
  });
  return form;
};

export const send = async (address, fields, signal) => {
  const response = await reached(address, { method: "POST", body: formOf(fields), signal });
  return (await checked(response)).json();
};

// An answer that says on the way how far it is.
export const sendAndListen = async (address, fields, signal, listen) => {
  const body = formOf({ ...fields, progress: "true" });
  const response = await checked(await reached(address, { method: "POST", body, signal }));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    rest += value || "";
    const lines = rest.split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const said = JSON.parse(line);
      if (said.problem) throw new Refused(said.problem);
      if (said.answer) return said.answer;
      listen(said.progress);
    }
    if (done) throw new Refused({ detail: "The server ended the answer.", status: 0 });
  }
};
