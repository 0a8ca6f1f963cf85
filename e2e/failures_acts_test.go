package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"agentmarket/agentruntime"
)

// startFailing starts a market with a sandboxed tier whose runtime no node has, and
// with a registry that is taken to be there and is not.
func startFailing(t *testing.T) market {
	t.Helper()
	class := "e2e-" + strings.ToLower(t.Name())
	m := marketOn(t, Start(t, "AGENTMARKET_SANDBOX_RUNTIME_CLASS="+class,
		"AGENTMARKET_PRELOADED_IMAGES=agentmarket.local,"+awayRegistry))
	classes := m.Kube.NodeV1().RuntimeClasses()
	_, err := classes.Create(t.Context(), &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: class}, Handler: "nowhere"}, metav1.CreateOptions{})
	require.True(t, err == nil || apierrors.IsAlreadyExists(err), "%v", err) // of a test that was killed
	m.changeTaints(t, false)
	m.closeRegistry(t)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = classes.Delete(ctx, class, metav1.DeleteOptions{})
		_ = m.Kube.CoreV1().Namespaces().Delete(ctx, m.Namespace+"-sandboxed", metav1.DeleteOptions{})
	})
	return m
}

// closeRegistry tells the node of the development cluster, which has another answer for
// every other registry, that one is where nobody listens.
func (m market) closeRegistry(t *testing.T) {
	t.Helper()
	folder := filepath.Join(m.ClusterState, "etc", "certs.d", awayRegistry)
	require.NoError(t, os.MkdirAll(folder, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	const nobody = "server = 'http://127.0.0.1:1'\n\n[host.'http://127.0.0.1:1']\n  capabilities = ['pull', 'resolve']\n"
	require.NoError(t, os.WriteFile(filepath.Join(folder, "hosts.toml"), []byte(nobody), 0o644))
}

// narrow makes the cluster refuse containers of more than two cores.
func (m market) narrow(t *testing.T) {
	t.Helper()
	_, err := m.Kube.CoreV1().LimitRanges(m.Namespace).Create(t.Context(), &corev1.LimitRange{
		ObjectMeta: metav1.ObjectMeta{Name: "narrow"},
		Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
			Type: corev1.LimitTypeContainer, Max: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2")},
		}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

// fillQuota leaves no room for pods in the namespace of runs, until it is lifted.
func (m market) fillQuota(t *testing.T) (lift func()) {
	t.Helper()
	quotas := m.Kube.CoreV1().ResourceQuotas(m.Namespace)
	_, err := quotas.Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "full"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		quota, err := quotas.Get(t.Context(), "full", metav1.GetOptions{})
		return err == nil && len(quota.Status.Hard) > 0
	}, 30*time.Second, 50*time.Millisecond, "the quota holds")
	return func() { require.NoError(t, quotas.Delete(t.Context(), "full", metav1.DeleteOptions{})) }
}

// eachAttempt does something to the pod of each attempt of a run, once it runs.
func eachAttempt(act func(t *testing.T, m market, pod *corev1.Pod)) func(*testing.T, market, runView) {
	return func(t *testing.T, m market, run runView) {
		for attempt := 1; attempt <= platformTries; attempt++ {
			now := m.buyer.until(t, run.ID, patience, fmt.Sprintf("attempt %d runs", attempt), func(r runView) bool {
				return len(r.Attempts) >= attempt && r.Attempts[attempt-1].StartedAt != nil || r.ended()
			})
			require.False(t, now.ended(), "%+v", now)
			pods := m.pods(t, run.ID)
			i := slices.IndexFunc(pods, func(p corev1.Pod) bool { return p.Labels["agentmarket.dev/attempt"] == strconv.Itoa(attempt) })
			require.GreaterOrEqual(t, i, 0, "attempt %d of %s has its pod", attempt, run.ID)
			act(t, m, &pods[i])
		}
	}
}

func deletePod(t *testing.T, m market, pod *corev1.Pod) {
	require.NoError(t, m.Stack.deletePod(t, pod.Name))
}

// evict does what kubectl drain does to each pod.
func evict(t *testing.T, m market, pod *corev1.Pod) {
	require.NoError(t, m.Kube.PolicyV1().Evictions(pod.Namespace).Evict(t.Context(), &policyv1.Eviction{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace},
	}))
}

// killSupervisor kills the first process of a pod from outside. The node of the
// development cluster is this computer.
func killSupervisor(t *testing.T, _ market, pod *corev1.Pod) {
	require.Eventually(t, func() bool { return killed(t, pod.Labels["agentmarket.dev/run-id"]) },
		10*time.Second, 50*time.Millisecond, "there is a supervisor of %s", pod.Name)
}

// killed kills the supervisor of a run, false where it is not there (yet).
func killed(t *testing.T, run string) bool {
	t.Helper()
	supervisor := append([]byte(agentruntime.SupervisorPath), 0)
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, file := range files {
		command, err := os.ReadFile(file)
		if err != nil || !bytes.HasPrefix(command, supervisor) || !bytes.Contains(command, []byte(run)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		require.NoError(t, err)
		return syscall.Kill(pid, syscall.SIGKILL) == nil
	}
	return false
}

// taintKey is of the taint that takes every pod from the nodes.
const taintKey = "agentmarket.dev/e2e"

// taint takes the pod of one run from its node, and keeps that of another from it.
// No other test has a pod there meanwhile.
func (m market) taint(t *testing.T, taken, none *failure) {
	t.Helper()
	others := alone()
	defer others()
	m.begin(t, taken)
	m.buyer.untilRunning(t, taken.run.ID)
	lift := sync.OnceFunc(func() { m.changeTaints(t, false) })
	t.Cleanup(lift)
	m.changeTaints(t, true)
	m.untilFailedOnce(t, taken)
	m.begin(t, none)
	m.suffer(t, none)
	lift()
	m.suffer(t, taken)
}

// changeTaints adds the taint to every node, or removes it.
func (m market) changeTaints(t *testing.T, add bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second) // also at the end of the test
	defer cancel()
	nodes := m.Kube.CoreV1().Nodes()
	list, err := nodes.List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	for _, n := range list.Items {
		require.NoError(t, retry.RetryOnConflict(retry.DefaultBackoff, func() error {
			node, err := nodes.Get(ctx, n.Name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			node.Spec.Taints = slices.DeleteFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == taintKey })
			if add {
				node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: taintKey, Effect: corev1.TaintEffectNoExecute})
			}
			_, err = nodes.Update(ctx, node, metav1.UpdateOptions{})
			return err
		}))
	}
}
