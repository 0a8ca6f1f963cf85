package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// awaitApproval makes a run wait for a person, as its workflow would.
func (f *fixture) awaitApproval(id ids.Run) {
	f.t.Helper()
	f.update(id, func(r *product.Run) []*product.Event {
		planned := r.Planned(product.Plan{Version: "1.0.0", Image: image, Approval: "it costs much", ResolvedAt: now}, now)
		return []*product.Event{planned, r.AwaitApproval(now)}
	})
}

// toApprove starts a run with acme's key that waits for a person, and returns the
// key of an admin.
func (f *fixture) toApprove() (run ids.Run, path, admin string) {
	f.t.Helper()
	run = f.started()
	f.awaitApproval(run)
	_, admin = f.person(f.org.ID, fmt.Sprintf("admin-%s@example.com", run[len(run)-6:]), marketplace.RoleAdmin)
	return run, "/v1/runs/" + string(run), admin
}

func TestApprove(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run, path, admin := f.toApprove()
	body := f.get(path).json(t)
	require.Equal(t, "waiting_approval", body["status"])
	require.Equal(t, map[string]any{
		"why": "it costs much", "requested_at": now.Format(time.RFC3339), "input_edited": false,
		"deadline": now.Add(product.ApprovalTimeout).Format(time.RFC3339),
	}, body["approval"])
	require.Equal(t, path+"/approve", field(body, "urls", "approve"))
	require.Equal(t, path+"/deny", field(body, "urls", "deny"))
	require.Equal(t, []string{string(run)}, f.items(f.get("/v1/runs?status=waiting_approval"), "id"))

	f.clock.advance(time.Minute)
	got := f.requireStatus(http.StatusOK, f.send(http.MethodPost, path+"/approve", `{"note":"as agreed"}`, admin))
	require.Equal(t, "queued", got["status"])
	require.Equal(t, "approved", field(got, "approval", "decision"))
	require.Equal(t, "as agreed", field(got, "approval", "note"))
	require.True(t, ids.Valid(ids.PrefixUser, field(got, "approval", "decided_by").(string)))
	require.Equal(t, now.Add(time.Minute).Format(time.RFC3339), field(got, "approval", "decided_at"))
	require.NotContains(t, got["urls"], "approve")
	require.Equal(t, []product.Decision{product.DecisionApproved}, f.engine.decided)
	due, err := f.runs.ClaimDispatch(t.Context(), now.Add(time.Hour), 0, 10)
	require.NoError(t, err)
	require.Empty(t, due, "the engine knows")

	f.requireStatus(http.StatusOK, f.send(http.MethodPost, path+"/approve", "", admin)) // the same again
	f.requireCode(http.StatusConflict, "not_waiting", f.send(http.MethodPost, path+"/deny", "", admin))
	require.Equal(t, "as agreed", field(f.get(path).json(t), "approval", "note"))
}

func TestDeny(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run, path, admin := f.toApprove()
	got := f.requireStatus(http.StatusOK, f.send(http.MethodPost, path+"/deny", `{"note":"too expensive"}`, admin))
	require.Equal(t, "denied", field(got, "approval", "decision"))
	require.Equal(t, "waiting_approval", got["status"], "its workflow ends it")
	require.Equal(t, []product.Decision{product.DecisionDenied}, f.engine.decided)
	f.requireCode(http.StatusConflict, "not_waiting", f.send(http.MethodPost, path+"/approve", "", admin))
	f.settle(run, product.ReasonApprovalDenied, "")
	require.Equal(t, "rejected", f.get(path).json(t)["status"])
}

func TestApproveWithAnotherInput(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run, path, admin := f.toApprove()
	f.requireCode(http.StatusUnprocessableEntity, "input_invalid",
		f.send(http.MethodPost, path+"/approve", `{"input":{"prompt":1}}`, admin), "/input/prompt")
	require.Equal(t, "waiting_approval", f.get(path).json(t)["status"])
	got := f.requireStatus(http.StatusOK, f.send(http.MethodPost, path+"/approve", `{"input":{"prompt":"be kind"}}`, admin))
	require.Equal(t, true, field(got, "approval", "input_edited"))
	input, err := f.runs.Input(t.Context(), run)
	require.NoError(t, err)
	require.JSONEq(t, `{"prompt":"be kind"}`, string(input))
	original, err := f.server.Bodies.OriginalInput(t.Context(), run)
	require.NoError(t, err)
	require.JSONEq(t, `{"prompt":"hello"}`, string(original))

	again := f.requireStatus(http.StatusOK, f.send(http.MethodPost, path+"/approve", `{"input":{"prompt":"be kind"}}`, admin))
	require.Equal(t, got["approval"], again["approval"])
	f.requireCode(http.StatusConflict, "not_waiting", f.send(http.MethodPost, path+"/approve", `{"input":{"prompt":"be rude"}}`, admin))
}

// Four eyes: not the person, with whichever key, and not the key.
func TestNobodyDecidesAboutHisOwnRun(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	ada, ofAda := f.person(f.org.ID, "ada@example.com", marketplace.RoleOwner)
	second := f.key(f.org.ID, func(k *marketplace.APIKey) { k.UserID = ada.User.ID }, marketplace.AllScopes()...)
	hers := f.runOf(f.send(http.MethodPost, startPath, hello, ofAda)).ID
	program := f.startAgain()
	bot := f.key(f.org.ID, nil, marketplace.AllScopes()...)
	botsRun := f.runOf(f.send(http.MethodPost, startPath, hello, bot))
	bots := botsRun.ID
	rotated := f.requireStatus(http.StatusCreated,
		f.send(http.MethodPost, "/v1/organizations/acme/api-keys/"+string(botsRun.KeyID)+"/rotate", `{"overlap_seconds":60}`, ""))
	for _, c := range []struct {
		run   ids.Run
		token string
		own   bool
	}{
		{hers, ofAda, true}, {hers, second, true}, {hers, f.token, false},
		{program, f.token, true}, {program, ofAda, false},
		{bots, rotated["token"].(string), true}, {bots, f.token, false},
	} {
		f.awaitApproval(c.run)
		for _, verb := range []string{"/approve", "/deny"} {
			got := f.send(http.MethodPost, "/v1/runs/"+string(c.run)+verb, "", c.token)
			if c.own {
				f.requireCode(http.StatusForbidden, "own_run", got)
			}
		}
		run, err := f.runs.Run(t.Context(), c.run)
		require.NoError(t, err)
		require.Equal(t, c.own, run.Approval.Decision == "")
	}
}

func TestBadDecisions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run, path, admin := f.toApprove()
	long := `{"note":"` + strings.Repeat("ä", product.MaxApprovalNote/2+1) + `"}` // fewer characters than bytes
	for _, verb := range []string{"/approve", "/deny"} {
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.send(http.MethodPost, path+verb, long, admin), "/note")
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.send(http.MethodPost, path+verb, `{"by":"me"}`, admin), "/by")
	}
	f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.send(http.MethodPost, path+"/deny", `{"input":{}}`, admin), "/input")
	_, member := f.person(f.org.ID, "member@example.com", marketplace.RoleMember)
	f.requireCode(http.StatusForbidden, "role_missing", f.send(http.MethodPost, path+"/approve", "", member))
	_, stranger := f.organization("stranger")
	f.requireCode(http.StatusNotFound, "run_not_found", f.send(http.MethodPost, path+"/approve", "", stranger))

	f.clock.advance(product.ApprovalTimeout)
	f.requireCode(http.StatusConflict, "not_waiting", f.send(http.MethodPost, path+"/approve", "", admin))
	f.settle(run, product.ReasonApprovalTimeout, "")
	f.requireCode(http.StatusConflict, "not_waiting", f.send(http.MethodPost, path+"/approve", "", admin))
	queued := f.startAgain()
	f.requireCode(http.StatusConflict, "not_waiting", f.send(http.MethodPost, "/v1/runs/"+string(queued)+"/approve", "", admin))
	require.Empty(t, f.engine.decided)
}

func TestDecisionIsKeptWhileTheEngineIsDown(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run, path, admin := f.toApprove()
	f.engine.set(func(e *engine) { e.down = fault.New(fault.Unavailable, "", "secret") })
	got := f.send(http.MethodPost, path+"/approve", "", admin)
	require.Equal(t, "queued", f.requireStatus(http.StatusOK, got)["status"])
	require.NotContains(t, got.text, "secret")
	due, err := f.runs.ClaimDispatch(t.Context(), now.Add(time.Hour), 0, 10)
	require.NoError(t, err)
	require.Len(t, due, 1, "the decision is left to the relay")
	require.Equal(t, run, due[0].ID)
}
