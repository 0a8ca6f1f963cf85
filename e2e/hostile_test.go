package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// attack is an agent that means harm, and what has to come of it. It is a row of
// docs/security.md.
type attack struct {
	does   string // for people
	agent  string
	script string
	more   map[string]any
	price  map[string]any // if a buyer pays for its run
	reason string         // of the run
	output string         // the result, as JSON; empty: there is none
	held   string         // what held it, for people

	run runView
}

// targets is where attacks are aimed at.
type targets struct {
	gateway, apiServer, kubelet, service, host, neighbor string // HOST PORT
	otherRun, otherToken                                 string
	neighborRun                                          string
	outside                                              outside
	connecting                                           string // how to get there
}

// reach are functions of attacks: whether something answers at HOST PORT.
const reach = sh + `
open() { nc -w 3 "$1" "$2" </dev/null >/dev/null 2>&1 && echo open || echo closed; }
can() { "$@" >/dev/null 2>&1 && echo yes || echo no; }
`

// TestHostile lets strangers' agents attack what is around them, each in a run of its
// own beside a neighbor that goes on, and holds docs/security.md to what came of it.
func TestHostile(t *testing.T) { // before those that run beside each other: it leaves a computer little time
	m := startMarket(t)
	s := m.Stack
	hosts := s.withOutside(t)
	at, untouched := s.aim(t)
	at.outside, at.connecting = hosts, connecting(t)
	attacks := attacksOn(at)
	for _, a := range attacks {
		manifest := map[string]any{"timeouts": map[string]any{"run_seconds": 60, "grace_seconds": 1, "start_seconds": 120}}
		for k, v := range a.more {
			manifest[k] = v
		}
		s.registerShell(t, a.agent, reach+a.script, manifest)
		if a.price != nil {
			m.sell(t, a.agent, a.price)
			m.order(t, a.agent, "usage")
		}
	}
	var group sync.WaitGroup
	places := make(chan struct{}, 6)
	for _, a := range attacks {
		mine := m.withKeys(t) // a key may make so many requests
		group.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			who := mine.Stack
			if a.price != nil {
				who = mine.buyer
			}
			a.run = who.startRun(t, a.agent, map[string]any{})
			a.run = who.untilEnded(t, a.run.ID, 2*patience)
		})
	}
	group.Wait()
	require.False(t, t.Failed())
	for _, a := range attacks {
		require.Equal(t, a.reason, a.run.Reason, "%s: %+v", a.agent, a.run)
		if a.output != "" {
			require.JSONEq(t, a.output, string(a.run.Output), "%s", a.agent)
		}
		require.NotEmpty(t, a.run.Attempts, a.agent)
		s.requireEvents(t, a.run.ID)
	}
	untouched(t)
	m.requireBooks(t)
	requireInPage(t, "../docs/security.md", hostileTable(attacks))
}

// aim prepares what is attacked: a listener on the node, a neighbor that would say if
// somebody reached it, a run that has ended.
func (s *Stack) aim(t *testing.T) (targets, func(t *testing.T)) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.ClusterState, "cluster.json"))
	require.NoError(t, err)
	var cluster struct {
		NodeIP string `json:"node_ip"`
		Ports  struct{ APIServer, Kubelet int }
	}
	require.NoError(t, json.Unmarshal(text, &cluster))
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(cluster.NodeIP, "0"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	reached := make(chan string, 100)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			reached <- conn.RemoteAddr().String()
			_ = conn.Close()
		}
	}()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)

	s.registerShell(t, "victim", `printf '"%s"' "$(cat $AGENT_TOKEN_FILE)"`, nil)
	victim := s.untilEnded(t, s.startRun(t, "victim", map[string]any{"secret": 1}).ID, patience)
	require.Equal(t, "succeeded", victim.Status, "%+v", victim)
	var token string
	require.NoError(t, json.Unmarshal(victim.Output, &token))

	s.registerShell(t, "neighbor", sh+`tell() { call POST /v1/events "{\"events\":[{\"type\":\"note\",\"message\":\"$1\"}]}"; }
		(nc -l -p 8080 >/dev/null 2>&1; tell contacted) &
		while :; do tell alive; sleep 3; done`,
		map[string]any{"timeouts": map[string]any{"run_seconds": 900, "grace_seconds": 1}})
	neighbor := s.startRun(t, "neighbor", map[string]any{})
	s.untilRunning(t, neighbor.ID)
	address := ""
	require.Eventually(t, func() bool {
		pods, err := s.Kube.CoreV1().Pods(s.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "agentmarket.dev/run-id=" + neighbor.ID})
		require.NoError(t, err)
		if len(pods.Items) == 1 {
			address = pods.Items[0].Status.PodIP
		}
		return address != ""
	}, patience, 50*time.Millisecond, "the neighbor has an address")

	gateway, gatewayPort, err := net.SplitHostPort(s.gatewayAddress)
	require.NoError(t, err)
	return targets{
			gateway:   gateway + " " + gatewayPort,
			apiServer: cluster.NodeIP + " " + strconv.Itoa(cluster.Ports.APIServer), kubelet: cluster.NodeIP + " " + strconv.Itoa(cluster.Ports.Kubelet),
			service: "10.111.0.1 443", host: cluster.NodeIP + " " + port, neighbor: address + " 8080",
			otherRun: victim.ID, otherToken: token, neighborRun: neighbor.ID,
		}, func(t *testing.T) {
			t.Helper()
			before := s.agentEvents(t, neighbor.ID)
			require.Eventually(t, func() bool { return len(s.agentEvents(t, neighbor.ID)) > len(before) }, patience, time.Second, "the neighbor goes on")
			require.Equal(t, "running", s.run(t, neighbor.ID).Status, "the neighbor goes on")
			require.NotContains(t, strings.Join(before, "\n"), "contacted", "nobody reached the neighbor")
			require.Empty(t, reached, "nobody reached the node")
			s.Call(t, http.MethodPost, "/v1/runs/"+neighbor.ID+"/cancel", nil, map[string]any{"force": true})
			s.untilEnded(t, neighbor.ID, patience)
		}
}

// hostileTable is what came of the attacks, in Markdown.
func hostileTable(attacks []*attack) string {
	var text strings.Builder
	text.WriteString("| what the agent does | `reason` | what holds it |\n|---|---|---|\n")
	for _, a := range attacks {
		fmt.Fprintf(&text, "| %s | %s | %s |\n", a.does, code(a.run.Reason), a.held)
	}
	return text.String()
}
