package bench

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/retry"
)

const (
	// bareRatio bounds from below how the rate of runs compares with that of bare Jobs.
	bareRatio = 0.8
	// bareMore bounds how many requests a run costs more than a bare Job.
	bareMore = 2
	// throughputRound is how many of each are made at once, in turns.
	throughputRound  = 100
	throughputRounds = 3
	// bareQuota is a namespace of bare Jobs with the quota of a namespace of runs.
	bareQuota = "bench-bare-quota"
)

// arm is one of the things that are compared.
type arm struct {
	name, namespace string
	round           func(n int)
	took            time.Duration
	asked           requests
	cpu             map[string]float64
}

// BenchmarkScaleThroughput sends runs and bare Jobs through the same simulated nodes,
// whose pods end at once, in turns: the loop creates Jobs from as many clients, sees by
// one watch that they are complete, and deletes them, as the platform does.
func BenchmarkScaleThroughput(b *testing.B) {
	w := startWorld(b)
	makeBareNamespace(b, w.Stack)
	w.makeQuotaNamespace(b)
	config := w.KubeConfig(b)
	config.QPS = -1
	kube, err := kubernetes.NewForConfig(config)
	require.NoError(b, err)
	arms := []*arm{
		{name: "bare Job", namespace: bareNamespace},
		{name: "bare Job, with a quota as runs have", namespace: bareQuota},
		{name: "agent run", namespace: w.Namespace},
	}
	arms[0].round = w.bareRound(b, kube, bareNamespace)
	arms[1].round = w.bareRound(b, kube, bareQuota)
	arms[2].round = func(n int) { w.untilTerminal(b, w.start(b, n), 5*time.Minute) }
	for _, a := range arms { // warm
		a.round(30)
		w.untilGone(b, a.namespace)
	}
	rounds := 0
	for b.Loop() {
		if rounds == throughputRounds {
			continue
		}
		for _, a := range arms {
			a.once(b, w)
		}
		rounds++
	}
	n := float64(rounds * throughputRound)
	rate := func(a *arm) float64 { return n / a.took.Seconds() }
	fmt.Printf("\n| on the same simulated nodes | per second | ratio | ratio with the quota |\n|---|---|---|---|\n")
	var names []string
	var asked []requests
	used := map[string]map[string]float64{}
	for _, a := range arms {
		fmt.Printf("| %s | %.1f | %.2f | %.2f |\n", a.name, rate(a), rate(a)/rate(arms[0]), rate(a)/rate(arms[1]))
		names, asked, used[a.name] = append(names, a.name), append(asked, a.asked), a.cpu
	}
	printRequests(names, asked, []float64{n, n, n})
	printCPU(used, n/1000, "processor time of each, in ms")
	ratio, more := rate(arms[2])/rate(arms[0]), (arms[2].asked.total()-arms[0].asked.total())/n
	b.ReportMetric(ratio, "ratio-to-bare-job")
	b.ReportMetric(more, "more-requests")
	b.ReportMetric(0, "ns/op")
	misses(b, more > bareMore, "a run costs %.2f requests more than a bare Job", more)
	misses(b, ratio < bareRatio, "the rate of runs is %.2f of that of bare Jobs", ratio)
}

// once makes one round, and counts until all traces of it are gone.
func (a *arm) once(b *testing.B, w *world) {
	b.Helper()
	asked, cpu, began := w.requests(b), w.cpu(b), time.Now()
	a.round(throughputRound)
	a.took += time.Since(began)
	w.untilGone(b, a.namespace)
	if a.asked == nil {
		a.asked, a.cpu = requests{}, map[string]float64{}
	}
	for kind, n := range w.requests(b).since(asked) {
		a.asked[kind] += n
	}
	for name, n := range sinceCPU(w.cpu(b), cpu) {
		a.cpu[name] += n
	}
}

// bareRound makes the function that makes, awaits and deletes n bare Jobs.
func (w *world) bareRound(b *testing.B, kube kubernetes.Interface, namespace string) func(n int) {
	b.Helper()
	jobs := kube.BatchV1().Jobs(namespace)
	pod := template(w.Stack)
	pod.Spec.Containers[0].Resources = corev1.ResourceRequirements{Limits: corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("32Mi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("80Mi"),
	}}
	complete, seen := make(chan string, 1000), map[string]bool{}
	w.watchJobs(b, kube, namespace, func(job *batchv1.Job) {
		if isComplete(job) && !seen[job.Name] {
			seen[job.Name] = true
			complete <- job.Name
		}
	})
	made := 0
	return func(n int) {
		var group sync.WaitGroup
		var deleted atomic.Int64
		done := make(chan struct{})
		for range startClients {
			group.Go(func() {
				for {
					select {
					case name := <-complete:
						err := jobs.Delete(b.Context(), name, metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)})
						misses(b, err != nil, "delete %s: %v", name, err)
						if deleted.Add(1) == int64(n) {
							close(done)
						}
					case <-done:
						return
					}
				}
			})
		}
		first := made
		made += n
		measure(startClients, n, func(i int) {
			err := retry.RetryOnConflict(retry.DefaultBackoff, func() error { // of who counts for the quota
				_, err := jobs.Create(b.Context(), &batchv1.Job{
					ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("bare-%d", first+i)},
					Spec:       batchv1.JobSpec{BackoffLimit: new(int32), Template: pod},
				}, metav1.CreateOptions{})
				return err
			})
			misses(b, err != nil, "make a Job: %v", err)
		})
		group.Wait()
	}
}

// watchJobs tells of every change of a Job in a namespace, one after the other.
func (w *world) watchJobs(b *testing.B, kube kubernetes.Interface, namespace string, tell func(*batchv1.Job)) {
	b.Helper()
	factory := informers.NewSharedInformerFactoryWithOptions(kube, 0, informers.WithNamespace(namespace))
	informer := factory.Batch().V1().Jobs().Informer()
	changed := func(obj any) {
		if job, ok := obj.(*batchv1.Job); ok {
			tell(job)
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: changed, UpdateFunc: func(_, obj any) { changed(obj) }})
	require.NoError(b, err)
	factory.Start(b.Context().Done())
	require.True(b, cache.WaitForCacheSync(b.Context().Done(), informer.HasSynced))
}

func isComplete(job *batchv1.Job) bool {
	return slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == batchv1.JobComplete && c.Status == corev1.ConditionTrue
	})
}

// makeQuotaNamespace makes a namespace with the quota and limits of that of runs.
func (w *world) makeQuotaNamespace(b *testing.B) {
	b.Helper()
	core := w.Kube.CoreV1()
	_, err := core.Namespaces().Create(b.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: bareQuota}}, metav1.CreateOptions{})
	require.NoError(b, err)
	b.Cleanup(func() { _ = core.Namespaces().Delete(context.Background(), bareQuota, metav1.DeleteOptions{}) })
	quota, err := core.ResourceQuotas(w.Namespace).Get(b.Context(), "runs", metav1.GetOptions{})
	require.NoError(b, err)
	_, err = core.ResourceQuotas(bareQuota).Create(b.Context(), &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "runs"}, Spec: quota.Spec}, metav1.CreateOptions{})
	require.NoError(b, err)
	require.Eventually(b, func() bool {
		_, err := core.ServiceAccounts(bareQuota).Get(b.Context(), "default", metav1.GetOptions{})
		quota, quotaErr := core.ResourceQuotas(bareQuota).Get(b.Context(), "runs", metav1.GetOptions{})
		return err == nil && quotaErr == nil && len(quota.Status.Hard) > 0
	}, time.Minute, 50*time.Millisecond, "pods can be made in it")
}

func sinceCPU(now, before map[string]float64) map[string]float64 {
	used := map[string]float64{}
	for name, n := range now {
		used[name] = n - before[name]
	}
	return used
}

// printCPU prints processor time divided by each, one column for each of the arms.
func printCPU(arms map[string]map[string]float64, each float64, title string, args ...any) {
	all, names := map[string]float64{}, slices.Sorted(maps.Keys(arms))
	for _, name := range names {
		for part, n := range arms[name] {
			all[part] += n
		}
	}
	parts := slices.SortedFunc(maps.Keys(all), func(a, b string) int { return cmp.Compare(all[b], all[a]) })
	fmt.Printf("\n| %s | %s |\n|---|%s\n", fmt.Sprintf(title, args...), strings.Join(names, " | "), strings.Repeat("---|", len(names)))
	for _, part := range parts {
		fmt.Printf("| %s |", part)
		for _, name := range names {
			fmt.Printf(" %.2f |", arms[name][part]/each)
		}
		fmt.Println()
	}
}
