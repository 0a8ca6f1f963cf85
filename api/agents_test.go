package api_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/api"
	"agentmarket/fault"
	"agentmarket/marketplace"
)

func TestPublish(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	got := f.post("/v1/agents", publication("1.0.0"))
	require.Equal(t, http.StatusCreated, got.status, got.text)
	require.Equal(t, "/v1/agents/acme/greeter/versions/1.0.0", got.header.Get("Location"))
	body := got.json(t)
	require.Equal(t, "acme/greeter", body["agent"])
	require.Equal(t, image, body["image"])
	require.EqualValues(t, 300, body["manifest"].(map[string]any)["timeouts"].(map[string]any)["run_seconds"], "with defaults")

	again := f.post("/v1/agents", publication("1.0.0"))
	require.Equal(t, http.StatusOK, again.status, again.text)
	require.Equal(t, body["id"], again.json(t)["id"])
}

func TestPublishIsMendedByARepeat(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.market.set(func(o *layer1) { o.entitleErr = errors.New("the process died here") })
	require.Equal(t, http.StatusInternalServerError, f.post("/v1/agents", publication("1.0.0")).status)
	require.Empty(t, f.items(f.get("/v1/entitlements"), "source"))
	f.market.set(func(o *layer1) { o.entitleErr = nil })
	require.Equal(t, http.StatusOK, f.post("/v1/agents", publication("1.0.0")).status)
	require.Equal(t, []string{"ownership"}, f.items(f.get("/v1/entitlements"), "source"))
}

func TestPublishKeepsTheEntitlementThatIsThere(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	rights, err := f.market.Entitlements(t.Context(), f.org.ID, "", 10)
	require.NoError(t, err)
	require.Len(t, rights, 1)
	_, err = f.market.UpdateEntitlement(t.Context(), setUp, f.org.ID, rights[0].ID, now, func(e *marketplace.Entitlement) error {
		e.RevokedAt = now
		return nil
	})
	require.NoError(t, err)
	f.publish("1.1.0")
	got := f.post("/v1/agents/acme/greeter/runs", `{"input":{"prompt":"hello"}}`)
	require.Equal(t, http.StatusForbidden, got.status, got.text)
	require.Equal(t, "entitlement_revoked", got.json(t)["code"])
}

func TestReadAgents(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	f.publish("1.1.0")
	other := strings.Replace(publication("1.0.0"), `"name":"greeter"`, `"name":"counter"`, 1)
	require.Equal(t, http.StatusCreated, f.post("/v1/agents", other).status)
	_, stranger := f.organization("stranger")

	names := func(query string) (found []string) {
		got := f.get("/v1/agents?" + query)
		require.Equal(t, http.StatusOK, got.status, got.text)
		for _, item := range got.json(t)["items"].([]any) {
			found = append(found, item.(map[string]any)["name"].(string))
		}
		return found
	}
	require.Equal(t, []string{"counter", "greeter"}, names(""))
	require.Equal(t, []string{"greeter"}, names("q=GREETER"))
	next := f.get("/v1/agents?limit=1").json(t)["next_cursor"].(string)
	require.Equal(t, []string{"greeter"}, names("limit=1&cursor="+next))
	require.JSONEq(t, `{"items":[],"next_cursor":null}`, f.do(call{method: http.MethodGet, path: "/v1/agents", token: stranger}).text)

	body := f.get("/v1/agents/acme/greeter").json(t)
	require.Equal(t, "1.1.0", body["latest"])
	require.Equal(t, map[string]any{"allowed": true, "source": "ownership"}, body["entitlement"])
	require.Equal(t, map[string]any{
		"self": "/v1/agents/acme/greeter", "versions": "/v1/agents/acme/greeter/versions",
		"channels": "/v1/agents/acme/greeter/channels", "reviews": "/v1/agents/acme/greeter/reviews",
		"estimate": "/v1/agents/acme/greeter/estimate", "runs": "/v1/agents/acme/greeter/runs",
		"web": "http://web.test/agents/acme/greeter",
	}, body["urls"])

	versions := f.get("/v1/agents/acme/greeter/versions").json(t)["items"].([]any)
	require.Len(t, versions, 2)
	require.Equal(t, "1.1.0", versions[0].(map[string]any)["version"])
	require.NotContains(t, versions[0], "manifest")
	latest := f.get("/v1/agents/acme/greeter/versions/latest").json(t)
	require.Equal(t, "1.1.0", latest["version"])
	require.Contains(t, latest["manifest"], "input_schema")
	require.Equal(t, http.StatusNotFound, f.get("/v1/agents/acme/greeter/versions/7.0.0").status)
	for _, path := range []string{"", "/versions", "/versions/1.0.0"} {
		got := f.do(call{method: http.MethodGet, path: "/v1/agents/acme/greeter" + path, token: stranger})
		require.Equal(t, "agent_not_found", got.json(t)["code"], path)
	}
}

func TestValidateInput(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	const path = "/v1/agents/acme/greeter/validate-input"
	got := f.post(path, `{"input":{"prompt":"hello"}}`)
	require.Equal(t, http.StatusOK, got.status, got.text)
	require.JSONEq(t, `{"valid":true,"version":"1.0.0"}`, got.text)
	got = f.post(path, `{"input":{"prompt":7}}`)
	requireProblem(t, want{422, "input_invalid", "The input does not match the agent's schema",
		"the value does not match the agent's schema", [][2]string{{"/input/prompt", "got number, want string"}}, nil, nil}, path, got)
	require.Zero(t, f.countRuns(f.org.ID))
}

func TestHealth(t *testing.T) {
	t.Parallel()
	healthy := func(context.Context) error { return nil }
	f := newFixture(t, func(s *api.Server) {
		s.Checks = map[string]func(context.Context) error{"database": healthy, "temporal": healthy}
	})
	got := f.do(call{method: http.MethodGet, path: "/health", noToken: true})
	require.Equal(t, http.StatusOK, got.status)
	require.JSONEq(t, `{"status":"ok","name":"agentmarket","version":"v1.2.3"}`, got.text)
	require.Equal(t, http.StatusOK, f.get("/livez").status)
	require.JSONEq(t, `{"status":"ready","checks":{"database":"ok","temporal":"ok"}}`, f.get("/readyz").text)
}

func TestReadinessNamesWhatFails(t *testing.T) {
	t.Parallel()
	hangs := make(chan struct{})
	t.Cleanup(func() { close(hangs) })
	f := newFixture(t, func(s *api.Server) {
		s.Checks = map[string]func(context.Context) error{
			"database": func(context.Context) error { return nil },
			"temporal": func(context.Context) error { return fault.New(fault.Unavailable, "", "secret address") },
			"blobs":    func(context.Context) error { panic("secret") },
			"cluster":  func(context.Context) error { <-hangs; return nil }, // does not obey its context
		}
	})
	began := time.Now()
	requireProblem(t, want{503, "not_ready", "The platform is not ready", "not ready: blobs, cluster, temporal",
		[][2]string{{"blobs", "does not answer"}, {"cluster", "does not answer"}, {"temporal", "does not answer"}}, nil,
		map[string]string{"Retry-After": "2"}}, "/readyz", f.get("/readyz"))
	require.Less(t, time.Since(began), 10*time.Second)
}
