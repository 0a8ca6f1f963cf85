package gateway_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/internal/storetest"
	"agentmarket/internal/testenv"
	"agentmarket/product"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// TestCancelRacesWithCalls: fifty runs call without a pause and are canceled at random
// moments. No call that begins after the cancel is accepted, and nothing gets onto the
// record behind it.
func TestCancelRacesWithCalls(t *testing.T) {
	f := newFixtureOn(t, storetest.Postgres(t))
	f.clock = time.Now // the limits of calls go by it
	const runs, callers = 50, 3
	var group sync.WaitGroup
	var accepted, refused atomic.Int64
	for range runs {
		run, token := f.going(1)
		var canceled atomic.Bool
		for i := range callers {
			group.Go(func() {
				for late := 0; late < 3; {
					after := canceled.Load()
					method, path, body := "POST", "/v1/events", `{"events":[{"type":"note"}]}`
					if i == 1 {
						method, path, body = "PUT", "/v1/artifacts/a.txt", "x"
					}
					got := f.call(token, method, path, body)
					switch {
					case got.status == http.StatusTooManyRequests:
						<-time.After(10 * time.Millisecond) // as who is told to
						continue
					case got.status < 300 && after:
						t.Errorf("%s %s was accepted after the cancel", method, path)
					case got.status < 300:
						accepted.Add(1)
					case got.status != http.StatusConflict:
						t.Errorf("%s %s: %d %s", method, path, got.status, got.text)
					}
					if after {
						refused.Add(1)
						late++
					}
				}
			})
		}
		group.Go(func() {
			<-time.After(rand.N(500 * time.Millisecond))
			f.cancel(run.ID)
			canceled.Store(true)
		})
	}
	group.Wait()
	require.Positive(t, accepted.Load(), "there was a race")
	require.EqualValues(t, runs*callers*3, refused.Load())
	requireNothingBehindCancels(t, f)
}

// requireNothingBehindCancels: the last event of each run that was canceled is that.
func requireNothingBehindCancels(t *testing.T, f *fixture) {
	t.Helper()
	for token := range f.pods {
		log, err := f.db.Runs().Events(t.Context(), f.pods[token].Run, 0, 0)
		require.NoError(t, err)
		require.Equal(t, product.EventCancelRequested, log[len(log)-1].Type, fmt.Sprint(token))
		for i, e := range log {
			require.EqualValues(t, i+1, e.Seq)
		}
	}
}
