package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

func toolServer(org ids.Org, name string) product.ToolServer {
	return product.ToolServer{
		OrgID: org, Name: name, URL: "https://tools.example.com/path?key=x", Header: "Authorization", Secret: "DESK_TOKEN",
		Timeout: 30 * time.Second, MaxBytes: 4096, ApproveTools: []string{"pay*"}, UpdatedBy: actor.ID, UpdatedAt: stored(start),
	}
}

var toolServerTests = []testCase{
	{"they are set, changed, listed and removed, with entries of the audit log", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		one, two := toolServer(org.ID, "desk"), toolServer(org.ID, "a-desk")
		two.Header, two.Secret, two.ApproveTools, two.Disabled = "", "", nil, true
		for _, server := range []product.ToolServer{one, two, toolServer("", "desk")} {
			require.NoError(t, s.Control.SetToolServer(t.Context(), actor, server))
		}
		found, err := s.Control.ToolServers(t.Context(), org.ID)
		require.NoError(t, err)
		requireSame(t, []product.ToolServer{two, one}, found)
		found, err = s.Control.ToolServers(t.Context(), "")
		require.NoError(t, err)
		requireSame(t, []product.ToolServer{toolServer("", "desk")}, found)

		one.URL, one.Disabled = "https://other.example.com/", true
		require.NoError(t, s.Control.SetToolServer(t.Context(), actor, one))
		found, err = s.Control.ToolServers(t.Context(), org.ID)
		require.NoError(t, err)
		requireSame(t, []product.ToolServer{two, one}, found)
		require.NoError(t, s.Control.DeleteToolServer(t.Context(), actor, org.ID, "desk", start))
		requireFault(t, s.Control.DeleteToolServer(t.Context(), actor, org.ID, "desk", start), fault.NotFound, "tool_server_not_found")
		const rest = `"header":"Authorization","secret":"DESK_TOKEN","timeout_ns":30000000000,"max_bytes":4096,"approve_tools":["pay*"]`
		const first, second = `{"host":"tools.example.com",` + rest + `}`, `{"host":"other.example.com",` + rest + `,"disabled":true}`
		requireAudit(t, s, org.ID, "tool_server:desk",
			entry{"tool_server.set", "", first}, entry{"tool_server.set", first, second}, entry{"tool_server.delete", second, ""})
		requireAudit(t, s, "", "tool_server:desk", entry{"tool_server.set", "", first})
	}},
	{"there are so many, whoever adds one at the same time", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		var group sync.WaitGroup
		errs := make([]error, product.MaxToolServers+4)
		for i := range errs {
			group.Go(func() {
				errs[i] = s.Control.SetToolServer(t.Context(), actor, toolServer(org.ID, fmt.Sprint("desk-", i)))
			})
		}
		group.Wait()
		refused := 0
		for _, err := range errs {
			if err != nil {
				refused++
				requireFault(t, err, fault.Conflict, "too_many")
			}
		}
		require.Equal(t, 4, refused)
		found, err := s.Control.ToolServers(t.Context(), org.ID)
		require.NoError(t, err)
		require.NoError(t, s.Control.SetToolServer(t.Context(), actor, found[0]), "those that there are may be changed")
	}},
}

// asked is an approval of a call of an attempt.
func asked(run product.Run, attempt int, arguments string) product.ToolApproval {
	return product.ToolApproval{
		ID: ids.New[ids.ToolApproval](ids.PrefixToolApproval), RunID: run.ID, Attempt: attempt, Server: "desk", Tool: "pay",
		Arguments: json.RawMessage(arguments), RequestedAt: stored(start), Deadline: stored(after(time.Hour)),
	}
}

func (w world) ask(t *testing.T, a product.ToolApproval) product.ToolApproval {
	t.Helper()
	got, err := w.Tools.AskForTool(t.Context(), a)
	require.NoError(t, err)
	return got
}

func (w world) decideTool(ctx context.Context, a product.ToolApproval, d product.Decision, at time.Time) (product.ToolApproval, error) {
	return w.Tools.DecideTool(ctx, actor, a.RunID, a.ID, d, "as agreed", at)
}

func (w world) shown(t *testing.T, run ids.Run, at time.Time) product.Status {
	t.Helper()
	got, err := w.Runs.Run(t.Context(), run)
	require.NoError(t, err)
	return got.Shown(at)
}

var toolApprovalTests = []testCase{
	{"a call that is asked about makes its run wait, until somebody decides", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.going(t, 1)
		a := asked(run, 1, `{"to": "\u0000 é"}`)
		requireSame(t, a, w.ask(t, a))
		require.Equal(t, product.StatusWaitingInput, w.shown(t, run.ID, start))
		require.Equal(t, product.StatusStarting, w.shown(t, run.ID, after(time.Hour)), "nobody can agree any more")
		last := w.lastEvent(t, run.ID)
		require.Equal(t, []any{product.EventToolApprovalRequested, 1, "desk/pay"}, []any{last.Type, last.Attempt, last.Message})
		found, err := s.Tools.ToolApprovals(t.Context(), run.ID)
		require.NoError(t, err)
		requireSame(t, []product.ToolApproval{a}, found)
		decisions, err := s.Tools.ToolDecisions(t.Context(), []ids.ToolApproval{a.ID, "tap_none"})
		require.NoError(t, err)
		require.Empty(t, decisions)
		used, err := s.Tools.UseToolApproval(t.Context(), a, start)
		require.NoError(t, err)
		require.False(t, used, "nobody has agreed")

		decided, err := w.decideTool(t.Context(), a, product.DecisionApproved, after(time.Minute))
		require.NoError(t, err)
		a.Decision, a.DecidedBy, a.Note, a.DecidedAt = product.DecisionApproved, actor.ID, "as agreed", stored(after(time.Minute))
		requireSame(t, a, decided)
		require.Equal(t, product.StatusStarting, w.shown(t, run.ID, start))
		last = w.lastEvent(t, run.ID)
		require.Equal(t, []any{product.EventToolApproved, 1, "desk/pay: as agreed"}, []any{last.Type, last.Attempt, last.Message})
		decisions, err = s.Tools.ToolDecisions(t.Context(), []ids.ToolApproval{a.ID, "tap_none"})
		require.NoError(t, err)
		require.Equal(t, map[ids.ToolApproval]product.Decision{a.ID: product.DecisionApproved}, decisions)
		_, err = w.decideTool(t.Context(), a, product.DecisionApproved, after(time.Hour))
		require.NoError(t, err, "the same again")
		_, err = w.decideTool(t.Context(), a, product.DecisionDenied, after(time.Minute))
		requireFault(t, err, fault.Conflict, "not_waiting")
		log, err := s.Runs.Events(t.Context(), run.ID, 0, 0)
		require.NoError(t, err)
		require.Equal(t, last.Seq, log[len(log)-1].Seq)
		requireAudit(t, s, run.OrgID, string(a.ID), entry{"tool.decide", "", fmt.Sprintf(`{"run":%q,"server":"desk","tool":"pay","decision":"approved"}`, run.ID)})
	}},
	{"the same call joins what was asked, and is made once", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.going(t, 1)
		first := w.ask(t, asked(run, 1, `{"n":1}`))
		other := w.ask(t, asked(run, 1, `{"n":2}`))
		require.NotEqual(t, first.ID, other.ID)
		require.Equal(t, first.ID, w.ask(t, asked(run, 1, `{"n":1}`)).ID)
		_, err := w.decideTool(t.Context(), first, product.DecisionApproved, start)
		require.NoError(t, err)
		require.Equal(t, product.StatusWaitingInput, w.shown(t, run.ID, start), "for the other one")
		again := w.ask(t, asked(run, 1, `{"n":1}`))
		require.Equal(t, product.DecisionApproved, again.Decision)
		var group sync.WaitGroup
		var mu sync.Mutex
		times := 0
		for range 4 {
			group.Go(func() {
				used, err := s.Tools.UseToolApproval(t.Context(), first, start)
				mu.Lock()
				defer mu.Unlock()
				if used && err == nil {
					times++
				}
			})
		}
		group.Wait()
		require.Equal(t, 1, times)
		require.NotEqual(t, first.ID, w.ask(t, asked(run, 1, `{"n":1}`)).ID, "what was used is asked again")
		_, err = w.decideTool(t.Context(), other, product.DecisionDenied, start)
		require.NoError(t, err)
		denied := w.ask(t, asked(run, 1, `{"n":2}`))
		require.Equal(t, []any{other.ID, product.DecisionDenied}, []any{denied.ID, denied.Decision}, "who said no is not asked again")
		late := asked(run, 1, `{"n":1}`)
		late.RequestedAt, late.Deadline = stored(after(2*time.Hour)), stored(after(3*time.Hour))
		require.Equal(t, late.ID, w.ask(t, late).ID, "what nobody answered is asked again")
	}},
	{"what is closed asks nothing, and waits for nothing", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		for name, change := range closed {
			run := w.going(t, 1)
			pending, agreed := w.ask(t, asked(run, 1, `{"n":1}`)), w.ask(t, asked(run, 1, `{"n":2}`))
			_, err := w.decideTool(t.Context(), agreed, product.DecisionApproved, start)
			require.NoError(t, err)
			w.update(t, run.ID, change)
			got, err := s.Runs.Run(t.Context(), run.ID)
			require.NoError(t, err)
			require.Zero(t, got.WaitingUntil, name)
			require.NotEqual(t, product.StatusWaitingInput, got.Shown(start), name)
			_, err = s.Tools.AskForTool(t.Context(), asked(run, 1, `{"n":3}`))
			requireFault(t, err, fault.Conflict, product.CodeSessionClosed)
			used, err := s.Tools.UseToolApproval(t.Context(), agreed, start)
			requireFault(t, err, fault.Conflict, product.CodeSessionClosed)
			require.False(t, used)
			_, err = w.decideTool(t.Context(), pending, product.DecisionApproved, start)
			requireFault(t, err, fault.Conflict, "not_waiting")
		}
		run := w.going(t, 1)
		w.ask(t, asked(run, 1, `{}`))
		require.NoError(t, s.Sessions.ReportEnd(t.Context(), run.ID, 1, json.RawMessage(`{}`), start))
		require.Equal(t, product.StatusStarting, w.shown(t, run.ID, start))
		second := w.going(t, 2)
		_, err := s.Tools.AskForTool(t.Context(), asked(second, 1, `{}`))
		requireFault(t, err, fault.Conflict, product.CodeSessionClosed)
	}},
	{"a run asks so often, and not those of others", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run, other := w.going(t, 1), w.going(t, 1)
		var last product.ToolApproval
		for i := range product.MaxToolApprovals {
			last = w.ask(t, asked(run, 1, fmt.Sprintf(`{"n":%d}`, i)))
		}
		_, err := s.Tools.AskForTool(t.Context(), asked(run, 1, `{"n":-1}`))
		requireFault(t, err, fault.RateLimited, "too_many_approvals")
		require.Equal(t, last.ID, w.ask(t, asked(run, 1, string(last.Arguments))).ID)
		last.RunID = other.ID
		_, err = w.decideTool(t.Context(), last, product.DecisionApproved, start)
		requireFault(t, err, fault.NotFound, "tool_approval_not_found")
		last.RunID = "run_none"
		_, err = w.decideTool(t.Context(), last, product.DecisionApproved, start)
		requireFault(t, err, fault.NotFound, "run_not_found")
	}},
	{"those that wait are listed", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		waits, goes := w.going(t, 1), w.going(t, 1)
		w.ask(t, asked(waits, 1, `{}`))
		for _, tt := range []struct {
			statuses []product.Status
			at       time.Time
			want     []ids.Run
		}{
			{[]product.Status{product.StatusWaitingInput}, start, []ids.Run{waits.ID}},
			{[]product.Status{product.StatusWaitingInput}, after(time.Hour), nil},
			{[]product.Status{product.StatusWaitingInput, product.StatusStarting}, start, []ids.Run{goes.ID, waits.ID}},
			{[]product.Status{product.StatusQueued}, start, nil},
		} {
			found, err := s.Runs.Runs(t.Context(), w.org.ID, product.RunQuery{Statuses: tt.statuses, At: tt.at, Limit: 10})
			require.NoError(t, err)
			var got []ids.Run
			for _, r := range found {
				got = append(got, r.ID)
			}
			require.ElementsMatch(t, tt.want, got)
		}
	}},
	{"what was asked goes with the output", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		run := w.going(t, 1)
		w.ask(t, asked(run, 1, `{"secret":1}`))
		w.update(t, run.ID, closed["settled"])
		require.NoError(t, w.Bodies.DataRemoved(t.Context(), run.ID, after(2*time.Hour)))
		found, err := s.Tools.ToolApprovals(t.Context(), run.ID)
		require.NoError(t, err)
		require.Empty(t, found)
	}},
}

// fillTools uses every method of servers and approvals of tools.
func (w world) fillTools(t *testing.T) {
	t.Helper()
	for _, name := range []string{"desk", "desk", "gone", "shelf"} {
		require.NoError(t, w.Control.SetToolServer(t.Context(), actor, toolServer(w.org.ID, name)))
	}
	require.NoError(t, w.Control.DeleteToolServer(t.Context(), actor, w.org.ID, "gone", start))
	_, err := w.Control.ToolServers(t.Context(), w.org.ID)
	require.NoError(t, err)
	run := w.going(t, 1)
	a := w.ask(t, asked(run, 1, `{}`))
	_, err = w.Tools.ToolDecisions(t.Context(), []ids.ToolApproval{a.ID})
	require.NoError(t, err)
	_, err = w.decideTool(t.Context(), a, product.DecisionApproved, start)
	require.NoError(t, err)
	_, err = w.Tools.UseToolApproval(t.Context(), a, start)
	require.NoError(t, err)
	_, err = w.Tools.ToolApprovals(t.Context(), run.ID)
	require.NoError(t, err)
	_, err = w.Runs.Runs(t.Context(), w.org.ID, product.RunQuery{Statuses: []product.Status{product.StatusWaitingInput}, At: start, Limit: 10})
	require.NoError(t, err)
}
