// Each virtual user has a session. An iteration asks the server where it is
// for a page of the next one, follows the redirect with the token, looks
// whether the page is the user's, and keeps the token that came with it.
import http from 'k6/http';
import { check } from 'k6';
import exec from 'k6/execution';

const farm = JSON.parse(open(__ENV.FARM));

export const options = {
  hosts: farm.hosts,
  noCookiesReset: true,
  scenarios: {
    load: {
      executor: 'constant-arrival-rate', rate: farm.rate, timeUnit: '1s', duration: farm.duration,
      preAllocatedVUs: farm.sessions.length, maxVUs: farm.sessions.length,
    },
  },
};

// Before the first iteration and after the last.
export function setup() { http.get(farm.mark); }
export function teardown() { http.get(farm.mark); }

let session;

// The farm's cookies are for secure origins, and plain HTTP to a name below
// localhost is none to k6, as it is to browsers.
function carry(token) {
  http.cookieJar().set(farm.servers[0].url, farm.cookie, token, { domain: farm.domain, path: '/' });
}

export default function () {
  if (!session) {
    session = { at: 0, ...farm.sessions[exec.vu.idInTest - 1] };
    carry(session.token);
  }
  const to = (session.at + 1) % farm.servers.length;
  const page = http.get(farm.servers[session.at].url + farm.servers[to].path);
  const brought = page.cookies[farm.cookie];
  if (check(page, {
    'the page came': (r) => r.status === 200 && r.body.includes(farm.servers[to].marker),
    'it is the user\'s': (r) => r.body.includes(session.echo),
    'a token came with it': () => brought !== undefined,
  })) {
    carry(brought[0].value);
    session.at = to;
  }
}

export function handleSummary(data) {
  const count = (name) => (data.metrics[name] ? data.metrics[name].values.count : 0);
  return { stdout: `counted: ${count('iterations')} pages, ${data.metrics.checks.values.fails} refused, ${count('http_reqs')} requests\n` };
}
