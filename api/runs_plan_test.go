package api_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/product"
)

const planPath = "/v1/agents/acme/greeter/plan"

func TestPlanShowsEveryField(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.started()
	path := "/v1/runs/" + string(run) + "/plan"
	f.requireCode(http.StatusNotFound, "plan_not_ready", f.get(path))
	f.update(run, func(r *product.Run) []*product.Event {
		return []*product.Event{r.Planned(product.Plan{
			Version: "1.0.0", Image: image, Command: []string{"/greeter"}, Env: map[string]string{"A": "b"}, EntitlementID: "ent_1",
			Resources: product.Resources{CPUMillis: 1, MemoryMiB: 2, DiskMiB: 3}, MaxAttempts: 3, AgentAttempts: 2,
			Deadlines:      product.Deadlines{Queue: time.Hour, Start: 2 * time.Minute, Run: time.Minute, Grace: time.Second},
			MaxOutputBytes: 10, MaxLogBytes: 20, Tools: []string{"search"}, Models: []string{"small"}, Secrets: []string{"TOKEN"}, SecretFiles: []string{"TOKEN"}, Egress: []string{"example.com"},
			Tier: product.TierSandboxed, Mode: product.ModeSync, Approval: "it costs much",
			Retention:  product.Retention{Input: time.Hour, Output: 2 * time.Hour},
			Sources:    []product.Source{{Field: "tier", Rule: product.RulePlatformPolicy, Detail: "why"}, {Field: "image", Rule: product.RuleManifest}},
			ResolvedAt: now,
		}, now)}
	})
	body := f.requireStatus(http.StatusOK, f.get(path))
	delete(body, "$schema")
	require.Equal(t, map[string]any{
		"version": "1.0.0", "image": image, "command": []any{"/greeter"}, "env": map[string]any{"A": "b"}, "entitlement_id": "ent_1",
		"resources": map[string]any{"cpu_millis": 1.0, "memory_mib": 2.0, "disk_mib": 3.0}, "max_attempts": 3.0, "agent_attempts": 2.0,
		"deadlines":        map[string]any{"queue_seconds": 3600.0, "start_seconds": 120.0, "run_seconds": 60.0, "grace_seconds": 1.0},
		"max_output_bytes": 10.0, "max_log_bytes": 20.0,
		"tools": []any{"search"}, "models": []any{"small"}, "secrets": []any{"TOKEN"}, "secret_files": []any{"TOKEN"}, "egress": []any{"example.com"},
		"tier": "sandboxed", "mode": "sync", "approval": "it costs much",
		"retention": map[string]any{"input_seconds": 3600.0, "output_seconds": 7200.0, "log_seconds": 0.0},
		"sources": []any{
			map[string]any{"field": "tier", "rule": "platform_policy", "detail": "why"},
			map[string]any{"field": "image", "rule": "manifest"},
		},
		"resolved_at": now.Format(time.RFC3339),
	}, body)
}

func TestDryRunWritesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	body := f.requireStatus(http.StatusOK, f.post(planPath, `{"input":{"prompt":"x"},"run_timeout_seconds":60}`, "Idempotency-Key", "k"))
	require.Equal(t, true, body["would_run"])
	require.Equal(t, "1.0.0", body["version"])
	require.Equal(t, []any{}, body["waits"])
	require.NotContains(t, body, "denial")
	require.EqualValues(t, 60, field(body, "plan", "deadlines", "run_seconds"))
	require.Equal(t, true, field(body, "estimate", "allowed"))
	sources := map[string]string{}
	for _, s := range field(body, "plan", "sources").([]any) {
		sources[s.(map[string]any)["field"].(string)] = s.(map[string]any)["rule"].(string)
	}
	require.Equal(t, product.RuleLatest, sources["version"])
	require.Equal(t, product.RuleRequest, sources["deadlines.run_seconds"])
	require.Zero(t, f.countRuns(f.org.ID))
	require.Empty(t, f.engine.starts)
	started := f.post(startPath, `{"input":{"prompt":"x"}}`, "Idempotency-Key", "k")
	require.Empty(t, started.header.Get("Idempotency-Replayed"), "a dry run uses up no key")
}

// A dry run does not move an installation to the newest version of its channel.
func TestDryRunMovesNoInstallation(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	f.list("greeter", nil)
	_, buyer := f.organization("buyer")
	installed := func() any {
		return f.requireStatus(http.StatusOK, f.send(http.MethodGet, greeter+"/installation", "", buyer))["version"]
	}
	f.requireStatus(http.StatusOK, f.send(http.MethodPut, greeter+"/installation", `{"channel":"stable"}`, buyer))
	f.requireStatus(http.StatusAccepted, f.send(http.MethodPost, startPath, hello, buyer))
	require.Equal(t, "1.0.0", installed())
	f.publish("1.1.0")
	for _, path := range []string{planPath, greeter + "/estimate", greeter + "/validate-input"} {
		require.Equal(t, "1.1.0", f.requireStatus(http.StatusOK, f.send(http.MethodPost, path, hello, buyer))["version"])
		require.Equal(t, "1.0.0", installed(), path)
	}
	f.requireStatus(http.StatusAccepted, f.send(http.MethodPost, startPath, hello, buyer))
	require.Equal(t, "1.1.0", installed())
}

func TestDryRunSaysWhyNot(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	f.requireStatus(http.StatusCreated, f.post("/v1/agents/acme/greeter/prices", price))
	f.list("greeter", nil)
	_, buyer := f.organization("buyer")
	denied := f.requireStatus(http.StatusOK, f.send(http.MethodPost, planPath, hello, buyer))
	require.Equal(t, false, denied["would_run"])
	require.NotContains(t, denied, "plan")
	require.Equal(t, "payment_required", field(denied, "denial", "code"))
	require.Equal(t, "/v1/orders", field(denied, "denial", "next"))
	require.EqualValues(t, 1000, field(denied, "estimate", "maximum", "amount_micros"))

	of := "/v1/organizations/acme"
	f.requireStatus(http.StatusOK, f.send(http.MethodPut, of+"/limits", `{"concurrent_runs":1,"cpu_millis":100}`, ""))
	over := f.requireStatus(http.StatusOK, f.post(planPath, hello))
	require.Equal(t, "limit_reached", field(over, "denial", "code"))
	require.Contains(t, over, "plan")
	require.Equal(t, []any{}, over["waits"])

	f.requireStatus(http.StatusOK, f.send(http.MethodPut, of+"/policy", `{"agents":[]}`, ""))
	against := f.requireStatus(http.StatusOK, f.post(planPath, hello))
	require.Equal(t, "policy_denied", field(against, "denial", "code"))
	require.Equal(t, of+"/policy", field(against, "denial", "next"))
	require.NotEmpty(t, field(against, "denial", "errors"))
	require.NotContains(t, against, "plan")

	f.requireCode(http.StatusUnprocessableEntity, "input_invalid", f.post(planPath, `{"input":{}}`), "/input")
	f.requireCode(http.StatusUnprocessableEntity, "team_unknown", f.post(planPath, `{"input":{"prompt":"x"},"team":"x"}`), "/team")
	f.requireCode(http.StatusNotFound, "version_not_found", f.post(planPath, `{"input":{"prompt":"x"},"version":"9.9.9"}`))
	require.Equal(t, "agent_not_found", f.send(http.MethodPost, "/v1/agents/acme/nobody/plan", hello, "").json(t)["code"])
}

func TestDryRunSaysWhatTheRunWouldWaitFor(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	f.requireStatus(http.StatusOK, f.send(http.MethodPut, "/v1/organizations/acme/limits", `{"concurrent_runs":1}`, ""))
	full := &busy{ControlStore: f.server.Control}
	f.server.Control = full
	f.http.Config.Handler = f.server.Handler()
	body := f.requireStatus(http.StatusOK, f.post(planPath, hello))
	require.Equal(t, true, body["would_run"])
	waits := body["waits"].([]any)
	require.Len(t, waits, 1)
	require.Equal(t, map[string]any{
		"position": 3.0, "scope": "organization", "bound": "concurrent_runs", "limit": 1.0, "since": now.Format(time.RFC3339),
		"reason": "the limit of the organization: 1 runs at once",
	}, waits[0])
}

func TestDryRunFailsClosed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	f.server.Control = &busy{ControlStore: f.server.Control, err: fault.New(fault.Unavailable, "", "secret address")}
	f.http.Config.Handler = f.server.Handler()
	for _, path := range []string{planPath, startPath} {
		got := f.post(path, hello)
		require.Equal(t, http.StatusServiceUnavailable, got.status, got.text)
		require.NotContains(t, got.text, "secret")
	}
	require.Zero(t, f.countRuns(f.org.ID))
}
