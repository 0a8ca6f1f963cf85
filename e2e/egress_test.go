package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestEgress: a pod that reaches nothing but the gateway has the hosts of its plan there,
// and each connection is on the record. Attacks on it are in [TestHostile].
func TestEgress(t *testing.T) {
	beside(t)
	s := Start(t)
	at := s.withOutside(t)
	s.registerShell(t, "connects", connecting(t)+"through "+at.api+" api; printf , >&2; through "+at.other+" api >&2", at.granted())
	run := s.untilEnded(t, s.startRun(t, "connects", map[string]any{}).ID, time.Minute)
	require.Equal(t, "succeeded", run.Status, "%+v", run)
	require.JSONEq(t, `"200 160303"`, string(run.Output))

	type said struct {
		Host     string `json:"host"`
		Address  string `json:"address"`
		Outcome  string `json:"outcome"`
		Received int64  `json:"received_bytes"`
	}
	var page struct {
		Items []struct {
			Type    string `json:"type"`
			Attempt int    `json:"attempt"`
			Message string `json:"message"`
			Data    said   `json:"data"`
		} `json:"items"`
	}
	require.Equal(t, http.StatusOK, s.get(t, "/v1/runs/"+run.ID+"/events?limit=200", &page))
	connections := map[string]said{}
	for _, e := range page.Items {
		if strings.HasPrefix(e.Type, "egress_") {
			require.Equal(t, 1, e.Attempt)
			connections[e.Type+" "+e.Message] = e.Data
		}
	}
	ended := connections["egress_ended "+at.api]
	require.Positive(t, ended.Received)
	ended.Received = 0
	connections["egress_ended "+at.api] = ended
	require.Equal(t, map[string]said{
		"egress_began " + at.api:     {Host: "api.example.com", Address: at.address},
		"egress_ended " + at.api:     {Host: "api.example.com", Address: at.address, Outcome: "closed"},
		"egress_refused " + at.other: {Host: "other.example.com", Outcome: "not_granted"},
	}, connections)
}
