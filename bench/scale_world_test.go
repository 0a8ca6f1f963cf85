package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"agentmarket/agentruntime"
	"agentmarket/e2e"
	"agentmarket/ids"
	"agentmarket/internal/fakekubelet"
	"agentmarket/internal/testenv"
)

// labelRun and labelAttempt are those of the platform's pods.
const (
	labelRun     = "agentmarket.dev/run-id"
	labelAttempt = "agentmarket.dev/attempt"
)

// world is a whole platform on simulated nodes.
type world struct {
	*e2e.Stack
	clients []*e2e.Stack
	nodes   *fakekubelet.Nodes
	metrics string // address of the worker's metrics
	wake    chan struct{}

	mu sync.Mutex
	// hold: pods run until they are released.
	hold     bool
	released map[string]bool      // names of pods
	ending   map[string]time.Time // run → when its pod's end was about to be written
	terminal map[string]time.Time // run → when its terminal record was committed
}

// startWorld starts the platform as in production, on nodes that execute nothing. The
// real node takes no pods meanwhile.
func startWorld(b *testing.B) *world {
	b.Helper()
	w := &world{
		metrics: fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(b)), wake: make(chan struct{}, 1),
		released: map[string]bool{}, ending: map[string]time.Time{}, terminal: map[string]time.Time{},
	}
	w.Stack = e2e.Start(b, "AGENTMARKET_METRICS_LISTEN="+w.metrics, "AGENTMARKET_CREATES_PER_SECOND=1000")
	w.UntilNamespace(b)
	w.widen(b)
	w.cordon(b)
	w.listen(b)
	pki := filepath.Join(w.ClusterState, "pki")
	nodes, stop, err := fakekubelet.Start(context.Background(), w.KubeConfig(b), fakekubelet.Config{ // until leave is done
		Count: 10, Ended: w.ended, Message: envelope, Ending: w.note,
		CertFile: filepath.Join(pki, "ca.crt"), KeyFile: filepath.Join(pki, "ca.key"),
	})
	require.NoError(b, err)
	w.nodes = nodes
	b.Cleanup(stop)
	b.Cleanup(func() { w.leave(b) })
	w.clients = w.Clients(b, startClients)
	status, body := w.Call(b, http.MethodPost, "/v1/agents", nil, map[string]any{"image": w.Images["wordcount"], "manifest": map[string]any{
		"api_version": "agentmarket/v1", "name": "simulated", "version": "1.0.0", "command": []string{"/agent"},
		"resources": map[string]any{"cpu_millis": 100, "memory_mib": 32, "disk_mib": 16},
		"timeouts":  map[string]any{"run_seconds": 7200, "start_seconds": 3600, "grace_seconds": 1},
	}})
	require.Equal(b, http.StatusCreated, status, "%s", body)
	return w
}

// leave removes all pods while the nodes are there to let them go: thousands that are
// left are work for the cluster which the next measurement would see.
func (w *world) leave(b *testing.B) {
	b.Helper()
	ctx := context.Background()
	require.NoError(b, w.Kube.CoreV1().Namespaces().Delete(ctx, w.Namespace, metav1.DeleteOptions{}))
	require.Eventually(b, func() bool {
		_, err := w.Kube.CoreV1().Namespaces().Get(ctx, w.Namespace, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	}, 15*time.Minute, time.Second, "the namespace of runs is gone")
}

// widen gives the namespace of runs room for all of them; its numbers are the
// operator's.
func (w *world) widen(b *testing.B) {
	b.Helper()
	hard := map[string]string{}
	quotas := w.Kube.CoreV1().ResourceQuotas(w.Namespace)
	quota, err := quotas.Get(b.Context(), "runs", metav1.GetOptions{})
	require.NoError(b, err)
	for name, have := range quota.Spec.Hard {
		if !have.IsZero() {
			hard[string(name)] = "1M"
		}
	}
	for _, name := range []string{"requests.memory", "limits.memory", "requests.ephemeral-storage", "limits.ephemeral-storage"} {
		hard[name] = "1Pi"
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"hard": hard}})
	require.NoError(b, err)
	_, err = quotas.Patch(b.Context(), "runs", types.MergePatchType, patch, metav1.PatchOptions{})
	require.NoError(b, err)
}

// cordon keeps pods from the real nodes.
func (w *world) cordon(b *testing.B) {
	b.Helper()
	set := func(ctx context.Context, unschedulable bool) {
		list, err := w.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: "!" + fakekubelet.Label})
		require.NoError(b, err)
		for _, node := range list.Items {
			patch := fmt.Appendf(nil, `{"spec": {"unschedulable": %t}}`, unschedulable)
			_, err := w.Kube.CoreV1().Nodes().Patch(ctx, node.Name, types.MergePatchType, patch, metav1.PatchOptions{})
			require.NoError(b, err)
		}
	}
	set(b.Context(), true)
	b.Cleanup(func() { set(context.Background(), false) })
}

// listen makes PostgreSQL tell of every terminal record. It tells when the record is
// committed, and not before.
func (w *world) listen(b *testing.B) {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), w.DatabaseURL())
	require.NoError(b, err)
	_, err = conn.Exec(b.Context(), `
CREATE FUNCTION bench_ended() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('ended', NEW.id); RETURN NEW; END $$;
CREATE TRIGGER bench_ended AFTER UPDATE OF status ON runs FOR EACH ROW
  WHEN (OLD.status <> NEW.status AND NEW.status = 'succeeded') EXECUTE FUNCTION bench_ended();
LISTEN ended`)
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	var group sync.WaitGroup
	group.Go(func() {
		for {
			told, err := conn.WaitForNotification(ctx)
			if err != nil {
				return
			}
			w.mu.Lock()
			w.terminal[told.Payload] = time.Now()
			w.mu.Unlock()
			select {
			case w.wake <- struct{}{}:
			default:
			}
		}
	})
	b.Cleanup(func() {
		cancel()
		group.Wait()
		_ = conn.Close(context.Background())
	})
}

// ended implements fakekubelet.Config.Ended.
func (w *world) ended(pod *corev1.Pod) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.hold || w.released[pod.Name]
}

// release ends the process of a pod.
func (w *world) release(pod *corev1.Pod) {
	w.mu.Lock()
	w.released[pod.Name] = true
	w.mu.Unlock()
	w.nodes.Look(pod)
}

func (w *world) note(pod *corev1.Pod) {
	if run := pod.Labels[labelRun]; run != "" {
		w.mu.Lock()
		if _, again := w.ending[run]; !again {
			w.ending[run] = time.Now()
		}
		w.mu.Unlock()
	}
}

// envelope is what the supervisor of a run reports; other pods report nothing.
func envelope(pod *corev1.Pod) (string, error) {
	run := pod.Labels[labelRun]
	if run == "" {
		return "", nil
	}
	e := agentruntime.Envelope{
		V: agentruntime.EnvelopeVersion, Run: ids.Run(run), Outcome: agentruntime.OK, ExitCode: new(int),
		StartedAt: pod.Status.StartTime.Time, FinishedAt: time.Now(),
	}
	if _, err := fmt.Sscan(pod.Labels[labelAttempt], &e.Attempt); err != nil {
		return "", fmt.Errorf("read attempt of %s: %w", pod.Name, err)
	}
	e.SetResult([]byte(`{"done":true}`))
	text, err := e.Encode()
	return string(text), err
}

// start starts runs, from as many clients as there are, and returns their identifiers.
func (w *world) start(b *testing.B, n int) []string {
	b.Helper()
	runs := make([]string, n)
	measure(len(w.clients), n, func(i int) {
		status, body := w.clients[i%len(w.clients)].Call(b, http.MethodPost, "/v1/agents/examples/simulated/runs", nil,
			map[string]any{"input": map[string]any{"n": i}})
		require.Equal(b, http.StatusAccepted, status, "%s", body)
		var run struct{ ID string }
		require.NoError(b, json.Unmarshal(body, &run))
		runs[i] = run.ID
	})
	return runs
}

// untilTerminal waits until the terminal records of all runs are committed.
func (w *world) untilTerminal(b *testing.B, runs []string, patience time.Duration) {
	b.Helper()
	deadline := time.After(patience)
	for {
		left := 0
		w.mu.Lock()
		for _, run := range runs {
			if w.terminal[run].IsZero() {
				left++
			}
		}
		w.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-w.wake:
		case <-deadline:
			b.Fatalf("%d of %d runs have not ended", left, len(runs))
		}
	}
}

// untilGone waits until no pod is left in a namespace, and returns after another second
// for what is done about it.
func (w *world) untilGone(b *testing.B, namespace string) {
	b.Helper()
	var gone time.Time
	require.Eventually(b, func() bool {
		if len(w.nodes.Pods(namespace)) > 0 {
			gone = time.Time{}
			return false
		}
		if gone.IsZero() {
			gone = time.Now()
		}
		return time.Since(gone) > 2*time.Second
	}, 5*time.Minute, 100*time.Millisecond, "all pods of %s are gone", namespace)
}
