package e2e

import (
	"encoding/base64"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// attackAsTold is an agent that carries out the attack of its input: so all of them can
// be of one version, for which pods are kept ready.
const attackAsTold = `sed -n 's/.*"attack": *"\([^"]*\)".*/\1/p' "$AGENT_INPUT" | base64 -d > /tmp/attack; . /tmp/attack`

// TestHostileInWarmPods: what an attack comes to does not depend on whether its pod was
// there before it. Attacks that need resources, hosts or a price of their own are not
// repeated.
func TestHostileInWarmPods(t *testing.T) {
	long(t)
	beside(t)
	m := marketOn(t, Start(t, WarmPods, KeepJobs))
	s := m.Stack
	at, untouched := s.aim(t)
	var attacks []*attack
	for _, a := range attacksOn(at) {
		if a.more == nil && a.price == nil {
			attacks = append(attacks, a)
		}
	}
	require.Greater(t, len(attacks), 25)
	s.registerShell(t, "attacker", attackAsTold, map[string]any{"timeouts": map[string]any{"run_seconds": 60, "grace_seconds": 1, "start_seconds": 120}})
	s.KeepWarm(t, 3)
	attack := func(s *Stack, script string) runView {
		return s.startRun(t, "attacker", map[string]any{"attack": base64.StdEncoding.EncodeToString([]byte(script))})
	}
	s.untilEnded(t, attack(s, `echo '"the first of a kind is cold"'`).ID, patience)

	var group sync.WaitGroup
	var ready sync.Mutex // a pod that is ready is for who waits for it
	places := make(chan struct{}, 3)
	for _, a := range attacks {
		mine := m.withKeys(t).Stack
		group.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			ready.Lock()
			s.UntilWarm(t, 1)
			a.run = attack(mine, reach+a.script)
			a.run = mine.until(t, a.run.ID, patience, "the attempt has begun", func(r runView) bool { return r.Status == "running" || r.ended() })
			ready.Unlock()
			a.run = mine.untilEnded(t, a.run.ID, 2*patience)
		})
	}
	group.Wait()
	require.False(t, t.Failed())
	for _, a := range attacks {
		require.Equal(t, a.reason, a.run.Reason, "%s: %+v", a.agent, a.run)
		// The supervisor has written the input, into a folder of the pod's own.
		a.output = strings.Replace(a.output, `"input":"no"`, `"input":"yes"`, 1)
		if a.output != "" {
			require.JSONEq(t, a.output, string(a.run.Output), "%s", a.agent)
		}
		s.requireEvents(t, a.run.ID)
		for _, job := range s.jobs(t, a.run.ID) {
			require.True(t, strings.HasPrefix(job.Name, "warm-"), "%s ran in %s", a.agent, job.Name)
		}
	}
	s.KeepWarm(t, 0)
	untouched(t)
}
