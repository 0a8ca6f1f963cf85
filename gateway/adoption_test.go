package gateway_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/infra"
)

func TestAdoption(t *testing.T) {
	f := newFixture(t)
	run, _ := f.going(1)

	t.Run("a pod without a run is nobody's but for waiting", func(t *testing.T) {
		for pattern, c := range calls(run, 1) {
			got := f.call("warm", c[0], c[1], c[2], "Idempotency-Key", c[3])
			require.Equal(t, "token_invalid", got.code(t), pattern)
		}
		require.Equal(t, "token_invalid", f.call("other", "GET", agentruntime.PathAdoption, "").code(t))
		require.Equal(t, "token_missing", f.call("", "GET", agentruntime.PathAdoption, "").code(t))
	})

	t.Run("it waits for its run", func(t *testing.T) {
		came := make(chan answer, 1)
		go func() { came <- f.call("warm", "GET", agentruntime.PathAdoption, "") }()
		f.mu.Lock()
		f.pods["warm"] = infra.Ref{Run: run.ID, Attempt: 1}
		f.mu.Unlock()
		got := <-came
		require.Equal(t, http.StatusOK, got.status, got.text)
		var adoption agentruntime.Adoption
		require.NoError(t, json.Unmarshal([]byte(got.text), &adoption))
		require.Equal(t, run.ID, adoption.Run)
		require.Equal(t, 1, adoption.Attempt)
		require.Equal(t, run.Plan.Deadlines.Run, adoption.RunTimeout)
		require.JSONEq(t, `{"a":1}`, string(adoption.Input))
		require.Equal(t, http.StatusNoContent, f.call("warm", "POST", "/v1/heartbeat", "").status)
	})

	t.Run("an attempt that is over adopts nothing", func(t *testing.T) {
		f.mu.Lock()
		f.pods["late"] = infra.Ref{Run: run.ID, Attempt: 2}
		f.mu.Unlock()
		require.Equal(t, "session_closed", f.call("late", "GET", agentruntime.PathAdoption, "").code(t))
	})
}
