package e2e

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// chatty writes more than a node keeps in one file, waits until the node has begun
// another one, and goes on twice.
const chatty = `
count() { seq $1 $2 | sed 's/$/ of a log that is rotated while somebody follows it, and that is read on/'; }
count 1 150000; sleep 25; count 150001 150100; sleep 6; count 150101 150200; echo 1 > "$AGENT_OUTPUT"`

// TestLogRotation: who follows a log gets each line once, although the node puts the
// file aside and its kubelet begins anew; what is kept says that its beginning is gone.
func TestLogRotation(t *testing.T) {
	beside(t)
	s := Start(t)
	s.registerShell(t, "chatty", chatty, map[string]any{"resources": map[string]any{"cpu_millis": 500, "memory_mib": 32, "disk_mib": 64}})
	run := s.startRun(t, "chatty", nil).ID

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v1/runs/"+run+"/logs?follow=true", nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+s.token)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	want := make([]string, 0, 150_200)
	for i := range 150_200 {
		want = append(want, fmt.Sprintf("%d of a log that is rotated while somebody follows it, and that is read on", i+1))
	}
	// A node may cut a line in two where it changes the file.
	var got strings.Builder
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		got.WriteString(lines.Text())
		if strings.HasPrefix(lines.Text(), "150100 ") {
			s.Devcluster(t, "stop-component", "--state", s.ClusterState, "kubelet", "--for", "1s")
		}
	}
	if all := strings.Join(want, ""); all != got.String() {
		t.Fatalf("each line once: %d bytes, not %d, to the end %q", got.Len(), len(all), got.String()[max(0, got.Len()-200):])
	}

	require.Equal(t, "succeeded", s.untilEnded(t, run, time.Minute).Status)
	_, kept := s.Call(t, http.MethodGet, "/v1/runs/"+run+"/logs", nil, nil)
	text := strings.Split(strings.TrimSpace(string(kept)), "\n")
	require.Equal(t, "[log truncated: its beginning had been rotated away on the node]", text[0])
	require.Contains(t, text[len(text)-1], "150200 of a log")
}
