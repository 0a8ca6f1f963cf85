package e2e

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"agentmarket/ids"
	"agentmarket/internal/storetest"
	"agentmarket/product"
)

// left is what there is of runs beside their records.
type left struct {
	Jobs, Secrets, Pods int
	Slots, Holds        int64
}

// left counts what there is in the cluster, and what the organizations use.
func (s *Stack) left(t testing.TB, orgs ...ids.Org) left {
	t.Helper()
	var l left
	ofRuns := metav1.ListOptions{LabelSelector: "agentmarket.dev/run-id"}
	jobs, err := s.Kube.BatchV1().Jobs(s.Namespace).List(t.Context(), ofRuns)
	require.NoError(t, err)
	secrets, err := s.Kube.CoreV1().Secrets(s.Namespace).List(t.Context(), ofRuns)
	require.NoError(t, err)
	pods, err := s.Kube.CoreV1().Pods(s.Namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	l.Jobs, l.Secrets, l.Pods = len(jobs.Items), len(secrets.Items), len(pods.Items)
	for _, org := range orgs {
		for _, kind := range []product.ScopeKind{product.ScopeQuota, product.ScopeOrganization} {
			_, usage, err := s.db.Product().Limits(t.Context(), []product.Scope{{Kind: kind, ID: string(org)}}, time.Now())
			require.NoError(t, err)
			for _, u := range usage {
				l.Slots += u.Running + u.Waiting + u.CPUMillis + u.MemoryMiB
			}
		}
	}
	held, err := s.db.Runs().LeakedHolds(t.Context(), time.Now().Add(time.Hour), 1000)
	require.NoError(t, err)
	l.Holds = int64(len(held))
	return l
}

// requireBooks: the ledger is balanced, and says what the runs say.
func (s *Stack) requireBooks(t testing.TB) {
	t.Helper()
	for name, query := range storetest.MoneyInvariants {
		found, err := s.postgres.Strings(t.Context(), s.database, query)
		require.NoError(t, err)
		require.Empty(t, found, "there is %s", name)
	}
	repair, granted, err := s.db.Product().RepairSlots(t.Context(), time.Now())
	require.NoError(t, err)
	require.Equal(t, product.Repair{}, repair, "a slot was leaked")
	require.Empty(t, granted)
}

// requireEvents: the events of a run have no gap, and end with its end.
func (s *Stack) requireEvents(t testing.TB, run string) {
	t.Helper()
	events, err := s.db.Runs().Events(t.Context(), ids.Run(run), 0, 1000)
	require.NoError(t, err)
	ends := 0
	for i, e := range events {
		require.Equal(t, int64(i+1), e.Seq, "events of %s", run)
		if e.Type == product.EventEnded {
			ends++
		}
	}
	require.Equal(t, 1, ends, "a run ends once: %s", run)
	require.Equal(t, product.EventEnded, events[len(events)-1].Type, "nothing happens after the end of %s", run)
}

// dice makes what is random in a test, and says how to make it again.
func dice(t testing.TB, variable string) (seed uint64, random *rand.Rand) {
	t.Helper()
	seed = rand.Uint64()
	if text := os.Getenv(variable); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err, variable)
	}
	t.Logf("%s=%d", variable, seed)
	return seed, rand.New(rand.NewPCG(seed, 0))
}

// between draws a time.
func between(random *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(random.Int64N(int64(to-from)))
}
