package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/api"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// want is a problem document as a test writes it; type, instance and request_id
// follow from it and from the request.
type want struct {
	status  int
	code    string
	title   string
	detail  string
	errors  [][2]string // pointer, message
	members map[string]any
	headers map[string]string
}

func requireProblem(t *testing.T, w want, path string, got answer) {
	t.Helper()
	require.Equal(t, w.status, got.status, got.text)
	require.Equal(t, "application/problem+json", got.header.Get("Content-Type"))
	require.Equal(t, "nosniff", got.header.Get("X-Content-Type-Options"))
	for name, value := range w.headers {
		require.Equal(t, value, got.header.Get(name), name)
	}
	id := got.header.Get("X-Request-Id")
	require.True(t, ids.Valid(ids.PrefixRequest, id), id)
	path, _, _ = strings.Cut(path, "?")
	document := map[string]any{
		"type": "https://agentmarket.dev/problems/" + w.code, "title": w.title, "status": float64(w.status),
		"detail": w.detail, "code": w.code, "instance": path, "request_id": id,
	}
	if w.errors != nil {
		var list []any
		for _, e := range w.errors {
			list = append(list, map[string]any{"pointer": e[0], "message": e[1]})
		}
		document["errors"] = list
	}
	for name, value := range w.members {
		document[name] = value
	}
	if diff := cmp.Diff(document, got.json(t)); diff != "" {
		t.Fatalf("want (-), got (+):\n%s", diff)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.started()
	ended := f.startAgain()
	f.settle(ended, product.ReasonPlatformError, "")
	stranger, strangerToken := f.organization("stranger")
	expired := f.key(f.org.ID, func(k *marketplace.APIKey) { k.ExpiresAt = now.Add(-time.Second) }, marketplace.AllScopes()...)
	reader := f.key(f.org.ID, nil, marketplace.ScopeRunsRead)
	buyer, buyerToken := f.organization("buyer")
	agent, err := f.agents.AgentByName(t.Context(), "acme", "greeter")
	require.NoError(t, err)
	revoked := marketplace.NewEntitlement(buyer.ID, agent.ID, marketplace.SourcePurchase, now)
	revoked.RevokedAt = now
	require.NoError(t, f.market.Entitle(t.Context(), setUp, revoked))
	runsBefore := f.countRuns(f.org.ID)
	many := map[string]string{}
	for i := range 33 {
		many[fmt.Sprint(i)] = "x"
	}
	manyLabels, err := json.Marshal(many)
	require.NoError(t, err)

	const runs = "/v1/agents/acme/greeter/runs"
	const good = `{"input":{"prompt":"hello"}}`
	post := func(path, body string) call { return call{method: http.MethodPost, path: path, body: body} }
	get := func(path string) call { return call{method: http.MethodGet, path: path} }
	for name, tc := range map[string]struct {
		call call
		want want
	}{
		"no key": {call{method: http.MethodPost, path: runs, body: good, noToken: true},
			want{401, "key_missing", "The call needs an API key", "send an API key as Authorization: Bearer amk_…", nil, nil,
				map[string]string{"WWW-Authenticate": `Bearer realm="agentmarket"`}}},
		"bad key": {call{method: http.MethodPost, path: runs, body: good, token: f.token[:len(f.token)-4] + "0000"},
			want{401, "key_invalid", "The API key is not valid", "the API key is not valid", nil, nil,
				map[string]string{"WWW-Authenticate": `Bearer realm="agentmarket", error="invalid_token"`}}},
		"unknown key": {call{method: http.MethodPost, path: runs, body: good, token: "amk_000000000000_" + f.token[17:]},
			want{401, "key_invalid", "The API key is not valid", "the API key is not valid", nil, nil, nil}},
		"no key at all": {call{method: http.MethodPost, path: runs, body: good, token: "hunter2"},
			want{401, "key_invalid", "The API key is not valid", "the API key is not valid", nil, nil, nil}},
		"expired key": {call{method: http.MethodPost, path: runs, body: good, token: expired},
			want{401, "key_expired", "The API key has expired", "the API key has expired", nil, nil, nil}},
		"missing scope": {call{method: http.MethodPost, path: runs, body: good, token: reader},
			want{403, "scope_missing", "The API key lacks a scope", "this API key lacks the scope runs:write", nil, nil,
				map[string]string{"WWW-Authenticate": `Bearer realm="agentmarket", error="insufficient_scope", scope="runs:write"`}}},
		"unknown path": {get("/v1/nothing"),
			want{404, "route_not_found", "There is nothing at this path", "there is nothing at this path", nil, nil, nil}},
		"trailing slash": {get("/v1/runs/"),
			want{404, "route_not_found", "There is nothing at this path", "there is nothing at this path", nil, nil, nil}},
		"wrong method": {call{method: http.MethodDelete, path: "/v1/runs"},
			want{405, "method_not_allowed", "The path does not answer this method", "this path does not answer DELETE", nil, nil,
				map[string]string{"Allow": "GET"}}},
		"unknown agent": {post("/v1/agents/acme/nobody/runs", good),
			want{404, "agent_not_found", "There is no such agent", "there is no agent acme/nobody", nil, nil, nil}},
		"agent of strangers": {call{method: http.MethodPost, path: runs, body: good, token: strangerToken},
			want{404, "agent_not_found", "There is no such agent", "there is no agent acme/greeter", nil, nil, nil}},
		"unknown version": {post(runs, `{"input":{"prompt":"x"},"version":"9.9.9"}`),
			want{404, "version_not_found", "There is no such version", "acme/greeter has no version 9.9.9", nil, nil, nil}},
		"revoked": {call{method: http.MethodPost, path: runs, body: good, token: buyerToken},
			want{403, "entitlement_revoked", "The right to run the agent was revoked",
				"the right of your organization to run this agent was revoked", nil,
				map[string]any{"next": "http://web.test/agents/acme/greeter"}, nil}},
		"unknown fields": {post(runs, `{"inptu":1,"input":{"prompt":"x"},"Version":"latest"}`),
			want{422, "request_invalid", "The request is not valid", "the request is not valid",
				[][2]string{{"/Version", "is not a member that is known here"}, {"/inptu", "is not a member that is known here"}}, nil, nil}},
		"missing field": {post(runs, `{"version":"latest"}`),
			want{422, "request_invalid", "The request is not valid", "the request is not valid",
				[][2]string{{"/input", "is required"}}, nil, nil}},
		"wrong type": {post(runs, `{"input":null,"run_timeout_seconds":"soon","queue_timeout_seconds":0,"labels":{"a/b":7}}`),
			want{422, "request_invalid", "The request is not valid", "the request is not valid",
				[][2]string{{"/labels/a~1b", "must be string, not number"},
					{"/queue_timeout_seconds", "minimum: got 0, want 1"},
					{"/run_timeout_seconds", "must be integer, not string"}}, nil, nil}},
		"whole number with a point": {post(runs, `{"input":{"prompt":"x"},"run_timeout_seconds":1.0}`),
			want{422, "request_invalid", "The request is not valid", "the request is not valid",
				[][2]string{{"", "has a value of the wrong form"}}, nil, nil}},
		"labels": {post(runs, `{"input":{"prompt":"x"},"labels":{"Über":"x","ok":"`+strings.Repeat("x", 257)+`"}}`),
			want{422, "request_invalid", "The request is not valid", "the request is not valid",
				[][2]string{{"/labels/ok", "must have at most 256 bytes"},
					{"/labels/Über", "is not named by 1 to 63 lower-case letters, digits, dots, hyphens and underscores, a letter or digit first"}}, nil, nil}},
		"too many labels": {post(runs, `{"input":{"prompt":"x"},"labels":`+string(manyLabels)+`}`),
			want{422, "request_invalid", "The request is not valid", "the request is not valid",
				[][2]string{{"/labels", "maxProperties: got 33, want 32"}}, nil, nil}},
		"not an object": {post(runs, `[1]`),
			want{422, "request_invalid", "The request is not valid", "the request is not valid",
				[][2]string{{"", "must be object, not array"}}, nil, nil}},
		"schema": {post(runs, `{"input":{"prompt":"x","list":[1,"secret"]}}`),
			want{422, "input_invalid", "The input does not match the agent's schema", "the value does not match the agent's schema",
				[][2]string{{"/input/list/1", "got string, want integer"}}, nil, nil}},
		"idempotency key": {call{method: http.MethodPost, path: runs, body: good, header: map[string]string{"Idempotency-Key": "two words"}},
			want{422, "idempotency_key_invalid", "The idempotency key is not valid", "the idempotency key is not valid",
				[][2]string{{"Idempotency-Key", "must be 1 to 255 visible ASCII characters, sent once"}}, nil, nil}},
		"5 MiB": {post(runs, `{"input":"`+strings.Repeat("x", 5<<20)+`"}`),
			want{413, "body_too_large", "The body is too large", "the body has more than 1048576 bytes", nil, nil, nil}},
		"large input": {post(runs, `{"input":"`+strings.Repeat("x", product.MaxInputBytes)+`"}`),
			want{413, "input_too_large", "The input is too large", "the input has 917506 bytes, at most 917504 are allowed", nil, nil, nil}},
		"malformed JSON": {post(runs, `{"input":}`),
			want{400, "malformed_json", "The body is not well-formed JSON",
				"the body is not JSON: invalid character '}' looking for beginning of value, at byte 10", nil, nil, nil}},
		"no body": {call{method: http.MethodPost, path: runs},
			want{400, "malformed_json", "The body is not well-formed JSON", "the request has no body", nil, nil, nil}},
		"two values": {post(runs, good+good),
			want{400, "malformed_json", "The body is not well-formed JSON",
				"the body is not JSON: invalid character '{' after top-level value, at byte 29", nil, nil, nil}},
		"twice the same member": {post(runs, `{"input":{"a":{"b":1,"b":2}}}`),
			want{400, "malformed_json", "The body is not well-formed JSON", "the body names the same member of an object twice", nil, nil, nil}},
		"depth bomb": {post(runs, `{"input":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`}`),
			want{400, "malformed_json", "The body is not well-formed JSON", "the body is nested deeper than 100 levels", nil, nil, nil}},
		"number bomb": {post(runs, `{"input":{"prompt":"x","list":[1e999999]}}`),
			want{400, "malformed_json", "The body is not well-formed JSON", "the body holds a number that is too long or too large", nil, nil, nil}},
		"not UTF-8": {post(runs, "{\"input\":\"\xff\"}"),
			want{400, "malformed_json", "The body is not well-formed JSON", "the body is not valid UTF-8", nil, nil, nil}},
		"media type": {call{method: http.MethodPost, path: runs, body: good, header: map[string]string{"Content-Type": "text/plain"}},
			want{415, "media_type_unsupported", "The body is not JSON",
				"send the body as Content-Type: application/json, in UTF-8 and without a Content-Encoding", nil, nil, nil}},
		"foreign run": {call{method: http.MethodGet, path: "/v1/runs/" + string(run), token: strangerToken},
			want{404, "run_not_found", "There is no such run", "there is no run " + string(run), nil, nil, nil}},
		"foreign cancel": {call{method: http.MethodPost, path: "/v1/runs/" + string(run) + "/cancel", token: strangerToken},
			want{404, "run_not_found", "There is no such run", "there is no run " + string(run), nil, nil, nil}},
		"malformed run": {get("/v1/runs/run_1"),
			want{404, "run_not_found", "There is no such run", "there is no run run_1", nil, nil, nil}},
		"cancel after the end": {post("/v1/runs/"+string(ended)+"/cancel", ""),
			want{409, "run_ended", "The run has already ended", "the run has already ended: failed", nil,
				map[string]any{"run_status": "failed"}, nil}},
		"cancel wrongly": {post("/v1/runs/"+string(run)+"/cancel", `{"grace_seconds":601,"reason":"`+strings.Repeat("x", 501)+`"}`),
			want{422, "request_invalid", "The request is not valid", "the request is not valid",
				[][2]string{{"/grace_seconds", "maximum: got 601, want 600"}, {"/reason", "maxLength: got 501, want 500"}}, nil, nil}},
		"output too early": {get("/v1/runs/" + string(run) + "/output"),
			want{404, "output_not_ready", "The run has not ended", "the run has not ended: queued", nil, nil, nil}},
		"no output": {get("/v1/runs/" + string(ended) + "/output"),
			want{404, "no_output", "The run ended without a result", "the run ended without a result: platform_error", nil, nil, nil}},
		"no plan": {get("/v1/runs/" + string(run) + "/plan"),
			want{404, "plan_not_ready", "The run is not planned", "the run has no plan", nil, nil, nil}},
		"query": {get("/v1/runs?limit=201&statsu=x&status=dead&label.X=1&created_after=yesterday"),
			want{422, "request_invalid", "The request is not valid", "the request is not valid",
				[][2]string{{"created_after", "expected string to be RFC 3339 date-time"},
					{"label.X", "is not one label with one value"}, {"limit", "expected number <= 200"},
					{"statsu", "unknown query parameter"}, {"status", "is not a state of a run"}}, nil, nil}},
		"unknown query": {get("/v1/agents?query=x"),
			want{422, "request_invalid", "The request is not valid", "the request is not valid",
				[][2]string{{"query", "unknown query parameter"}}, nil, nil}},
		"query twice": {get("/v1/runs?limit=1&status=failed&status=canceled&limit=2"),
			want{422, "request_invalid", "The request is not valid", "the request is not valid",
				[][2]string{{"limit", "must be given once"}}, nil, nil}},
		"cursor": {get("/v1/runs?cursor=nonsense"),
			want{422, "cursor_invalid", "The cursor is not one of this list", "the cursor is not one of this list",
				[][2]string{{"cursor", "is not a next_cursor of this list"}}, nil, nil}},
		"manifest": {post("/v1/agents", `{"manifest":{"api_version":"agentmarket/v1","name":"Bad Name","version":"1.0.0","command":["x"]},"image":"x"}`),
			want{422, "manifest_invalid", "The manifest is not valid", "the manifest is not valid",
				[][2]string{{"/manifest/name", "must be 1 to 40 lower-case letters, digits and inner hyphens"}}, nil, nil}},
		"image": {post("/v1/agents", `{"manifest":`+manifest("2.0.0")+`,"image":"greeter:latest"}`),
			want{422, "version_invalid", "The version is not valid", "the version is not valid",
				[][2]string{{"/image", "must be an image pinned by digest, NAME@sha256:<64 hex digits>, at most 512 characters"}}, nil, nil}},
		"other content": {post("/v1/agents", strings.Replace(publication("1.0.0"), "Greets.", "Greets loudly.", 1)),
			want{409, "version_taken", "The version exists with another content",
				"version 1.0.0 of acme/greeter is published with another content; a version never changes", nil, nil, nil}},
		"large manifest": {post("/v1/agents", `{"manifest":{"x":"`+strings.Repeat("x", 256<<10)+`"},"image":"x"}`),
			want{413, "manifest_too_large", "The manifest is too large", "the manifest has 262152 bytes, at most 262144 are allowed", nil, nil, nil}},
		"smoke test": {post("/schedule-job", `{"prompt":"hello world"}`),
			want{404, "smoke_test_disabled", "No example agent is configured", "no example agent is configured", nil, nil, nil}},
		"empty prompt": {post("/schedule-job", `{"prompt":""}`),
			want{422, "request_invalid", "The request is not valid", "the request is not valid",
				[][2]string{{"/prompt", "minLength: got 0, want 1"}}, nil, nil}},
	} {
		t.Run(name, func(t *testing.T) {
			got := f.do(tc.call)
			requireProblem(t, tc.want, tc.call.path, got)
		})
	}
	require.Equal(t, runsBefore, f.countRuns(f.org.ID), "a refused request wrote a run")
	require.Zero(t, f.countRuns(buyer.ID)+f.countRuns(stranger.ID))
	require.NotContains(t, f.log.String(), "secret", "the log repeats what callers sent")
	require.NotContains(t, f.log.String(), "hunter2")
	require.NotContains(t, f.log.String(), "yesterday")
}

func TestFaultsOfThePlatformStayInside(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.market.set(func(o *layer1) {
		o.keyErr = fault.Wrap(fault.Unavailable, errors.New("dial 10.0.0.7: refused"), "reach the primary database db-7")
	})
	requireProblem(t, want{503, "unavailable", "A part of the platform does not answer",
		"a part of the platform does not answer at the moment; try again", nil, nil, map[string]string{"Retry-After": "2"}},
		"/v1/runs", f.get("/v1/runs"))
	f.market.set(func(o *layer1) { o.keyErr = errors.New("row 7 is odd") })
	got := f.get("/v1/runs")
	requireProblem(t, want{500, "internal", "Something unforeseen happened",
		"something unforeseen happened; it was logged under the request_id", nil, nil, nil}, "/v1/runs", got)
	require.Contains(t, f.log.String(), "row 7 is odd")
	require.Contains(t, f.log.String(), got.header.Get("X-Request-Id"))
}

func TestPanicsBecomeProblems(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(s *api.Server) { s.Agents = nil })
	got := f.get("/v1/agents")
	requireProblem(t, want{500, "internal", "Something unforeseen happened",
		"something unforeseen happened; it was logged under the request_id", nil, nil, nil}, "/v1/agents", got)
	require.Contains(t, f.log.String(), "request panicked")
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for sent, kept := range map[string]bool{
		"abc-1.2_X": true, strings.Repeat("a", 64): true, strings.Repeat("a", 65): false, "a b": false, `a"b`: false,
	} {
		got := f.do(call{method: http.MethodGet, path: "/health", header: map[string]string{"X-Request-Id": sent}})
		require.Equal(t, kept, got.header.Get("X-Request-Id") == sent, sent)
	}
}

func TestAccessLogHasNoSecrets(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	got := f.get("/v1/runs?agent=hushhush/agent&label.team=hushhush")
	require.Equal(t, http.StatusOK, got.status, got.text)
	var line map[string]any
	for text := range strings.Lines(f.log.String()) {
		require.NoError(t, json.Unmarshal([]byte(text), &line))
		if line["msg"] == "request served" {
			break
		}
	}
	require.Equal(t, "/v1/runs", line["route"])
	require.Equal(t, "GET", line["method"])
	require.EqualValues(t, 200, line["status"])
	require.Equal(t, string(f.org.ID), line["org_id"])
	require.Equal(t, got.header.Get("X-Request-Id"), line["request_id"])
	require.Contains(t, line, "duration_ms")
	require.NotContains(t, f.log.String(), "hushhush")
	require.NotContains(t, f.log.String(), f.token)
	require.Equal(t, "no-store", got.header.Get("Cache-Control"))
}
