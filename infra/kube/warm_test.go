package kube

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"agentmarket/agentruntime"
	"agentmarket/ids"
	"agentmarket/infra"
)

func warming() Config {
	cfg := config()
	cfg.GatewayURL, cfg.Warm = "http://10.96.0.42:3100", true
	return cfg
}

// wanting is the first attempt of a run that wants pods to be ready.
func wanting(run ids.Run) infra.Sandbox {
	s := sandbox()
	s.Run, s.Attempt, s.Warm = run, 1, 2
	return s
}

const runA, runB = ids.Run("run_01jd3m0f9zq4x8v5c7n2b6k1ta"), ids.Run("run_01jd3m0f9zq4x8v5c7n2b6k1tb")

// TestWarmIsAsHardened: apart from what comes with the adoption, a warm pod is the pod of
// an attempt.
func TestWarmIsAsHardened(t *testing.T) {
	cfg := warming()
	_, cold, err := render(wanting(runA), cfg)
	require.NoError(t, err)
	warm, key, err := renderWarm(wanting(runA), cfg)
	require.NoError(t, err)
	require.Equal(t, key, warm.Labels[labelWarm])
	require.Equal(t, key, warm.Spec.Template.Labels[labelWarm])
	_, isOfARun := refOf(warm.Labels)
	require.False(t, isOfARun)

	want, got := cold.Spec.Template.Spec.DeepCopy(), warm.Spec.Template.Spec.DeepCopy()
	require.Equal(t, *want.ActiveDeadlineSeconds+600, *got.ActiveDeadlineSeconds)
	got.ActiveDeadlineSeconds = want.ActiveDeadlineSeconds
	launch, err := agentruntime.ParseLaunch(got.Containers[0].Command[2:], t.Output())
	require.NoError(t, err)
	require.Equal(t, warmLife, launch.Warm)
	got.Containers[0].Command = want.Containers[0].Command
	require.NotNil(t, got.Volumes[0].EmptyDir)
	require.Nil(t, got.Volumes[0].Secret)
	got.Volumes[0], got.Containers[0].VolumeMounts[1] = want.Volumes[0], want.Containers[0].VolumeMounts[1]
	require.Equal(t, want, got)
}

func TestWarmKeyIsOfWhatRunsShare(t *testing.T) {
	cfg := warming()
	keyOf := func(change func(*infra.Sandbox)) string {
		s := wanting(runA)
		change(&s)
		_, key, err := renderWarm(s, cfg)
		require.NoError(t, err)
		return key
	}
	same := keyOf(func(*infra.Sandbox) {})
	require.Equal(t, same, keyOf(func(s *infra.Sandbox) { s.Run, s.Input, s.Warm, s.AvoidNodes = runB, []byte("1"), 7, []string{"n"} }))
	for name, change := range map[string]func(*infra.Sandbox){
		"organization": func(s *infra.Sandbox) { s.Org = "org_01jd3m0f9zq4x8v5c7n2b6k1tz" },
		"agent":        func(s *infra.Sandbox) { s.Agent = "agt_01jd3m0f9zq4x8v5c7n2b6k1tz" },
		"image":        func(s *infra.Sandbox) { s.Image = "other" + digest },
		"command":      func(s *infra.Sandbox) { s.Command = []string{"/x"} },
		"environment":  func(s *infra.Sandbox) { s.Env = nil },
		"memory":       func(s *infra.Sandbox) { s.MemoryMiB++ },
		"deadline":     func(s *infra.Sandbox) { s.RunTimeout++; s.RunTimeout += time.Second },
		"egress":       func(s *infra.Sandbox) { s.Egress = !s.Egress },
		"users":        func(s *infra.Sandbox) { s.UserNamespace = !s.UserNamespace },
		"secret files": func(s *infra.Sandbox) { s.SecretFiles = !s.SecretFiles },
	} {
		require.NotEqual(t, same, keyOf(change), name)
	}
}

// cluster is one that answers patches whose test fails as the API server does, and in
// which every Job of the pool has its pod.
func cluster(t *testing.T, cfg Config) (*Cluster, *fake.Clientset) {
	t.Helper()
	client := fake.NewClientset()
	client.PrependReactor("create", "jobs", func(a clienttesting.Action) (bool, runtime.Object, error) {
		job := a.(clienttesting.CreateAction).GetObject().(*batchv1.Job)
		job.CreationTimestamp = metav1.Now()
		return false, nil, nil
	})
	tracked := clienttesting.ObjectReaction(client.Tracker())
	client.PrependReactor("patch", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		_, object, err := tracked(a)
		if err != nil && !apierrors.IsNotFound(err) {
			err = apierrors.NewInvalid(schema.GroupKind{Kind: "x"}, "x", nil)
		}
		return true, object, err
	})
	return NewCluster(client, cfg), client
}

// ready puts a warm Job and its running pod into the cluster.
func ready(t *testing.T, client *fake.Clientset, cfg Config, s infra.Sandbox, name string, age time.Duration) {
	t.Helper()
	job, _, err := renderWarm(s, cfg)
	require.NoError(t, err)
	job.Name, job.GenerateName, job.UID = name, "", "job-uid"
	made := metav1.NewTime(time.Now().Add(-age))
	job.CreationTimestamp = made
	require.NoError(t, client.Tracker().Add(job))
	require.NoError(t, client.Tracker().Add(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: job.Namespace, Name: name + "-x", UID: "pod-uid", CreationTimestamp: made,
			Labels: job.Spec.Template.Labels, Annotations: job.Spec.Template.Annotations,
		},
		Spec: job.Spec.Template.Spec,
		Status: corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &made, ContainerStatuses: []corev1.ContainerStatus{{
			Name: containerAgent, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: made}},
		}}},
	}))
}

func TestAdopt(t *testing.T) {
	cfg := warming()
	c, client := cluster(t, cfg)
	a, b := wanting(runA), wanting(runB)
	ready(t, client, cfg, a, "warm-1", 5*time.Minute)

	require.NoError(t, c.Create(t.Context(), a))
	require.NoError(t, c.Create(t.Context(), a), "again, after a crash")
	pods, err := client.CoreV1().Pods(cfg.Namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, pods.Items, 1)
	pod := pods.Items[0]
	ref, ok := refOf(pod.Labels)
	require.True(t, ok)
	require.Equal(t, a.Ref, ref)
	require.NotContains(t, pod.Labels, labelWarm)
	left := time.Duration(*pod.Spec.ActiveDeadlineSeconds)*time.Second - 5*time.Minute
	require.InDelta(t, (a.StartTimeout + a.RunTimeout + a.Grace + podMargin).Seconds(), left.Seconds(), 5)
	seen, err := c.Observe(t.Context(), a.Ref)
	require.NoError(t, err)
	require.True(t, seen.JobExists, "under its other name")
	require.WithinDuration(t, time.Now(), seen.Pod.Running.StartedAt, 3*time.Second, "it runs since the adoption")
	job, err := c.job(t.Context(), a.Ref)
	require.NoError(t, err)
	require.Equal(t, "warm-1", job.Name)
	require.EqualValues(t, wholeSeconds(cfg.JobTTL), *job.Spec.TTLSecondsAfterFinished)

	require.NoError(t, c.Create(t.Context(), b), "nothing is ready for another")
	job, err = c.job(t.Context(), b.Ref)
	require.NoError(t, err)
	require.Equal(t, b.Name(), job.Name)

	require.NoError(t, c.Clear(t.Context(), a.Ref))
	job, err = c.job(t.Context(), a.Ref)
	require.NoError(t, err)
	require.Nil(t, job)
}

func TestAdoptNot(t *testing.T) {
	cfg := warming()
	for name, change := range map[string]func(*infra.Sandbox, *Config, *time.Duration){
		"where no policy wants it":    func(s *infra.Sandbox, _ *Config, _ *time.Duration) { s.Warm = 0 },
		"where the platform has none": func(_ *infra.Sandbox, c *Config, _ *time.Duration) { c.Warm = false },
		"a later attempt":             func(s *infra.Sandbox, _ *Config, _ *time.Duration) { s.Attempt = 2 },
		"shortly before its end":      func(_ *infra.Sandbox, _ *Config, age *time.Duration) { *age = warmLife - warmMargin + time.Second },
		"of another organization":     func(s *infra.Sandbox, _ *Config, _ *time.Duration) { s.Org = "org_01jd3m0f9zq4x8v5c7n2b6k1tz" },
	} {
		t.Run(name, func(t *testing.T) {
			s, own, age := wanting(runA), cfg, time.Minute
			change(&s, &own, &age)
			c, client := cluster(t, own)
			ready(t, client, cfg, wanting(runB), "warm-1", age)
			require.NoError(t, c.Create(t.Context(), s))
			job, err := c.job(t.Context(), s.Ref)
			require.NoError(t, err)
			require.Equal(t, s.Name(), job.Name)
		})
	}
}

// TestAdoptLoses: who decided for a pod that another run has taken meanwhile makes its
// own, and so does its next try.
func TestAdoptLoses(t *testing.T) {
	cfg := warming()
	c, client := cluster(t, cfg)
	a := wanting(runA)
	ready(t, client, cfg, a, "warm-1", time.Minute)
	secret, _, err := render(a, cfg)
	require.NoError(t, err)
	name, err := c.decide(t.Context(), secret, "warm-1-x")
	require.NoError(t, err)
	require.Equal(t, "warm-1-x", name)
	require.NoError(t, c.Create(t.Context(), wanting(runB)))

	for range 2 {
		require.NoError(t, c.Create(t.Context(), a))
		job, err := c.job(t.Context(), a.Ref)
		require.NoError(t, err)
		require.Equal(t, a.Name(), job.Name)
	}
	have, err := client.CoreV1().Secrets(cfg.Namespace).Get(t.Context(), a.Name(), metav1.GetOptions{})
	require.NoError(t, err)
	require.Empty(t, have.Annotations[annotationAdopted])
}

// TestAdoptGoesOn: a try that broke off after it took the Job.
func TestAdoptGoesOn(t *testing.T) {
	cfg := warming()
	c, client := cluster(t, cfg)
	a := wanting(runA)
	ready(t, client, cfg, a, "warm-1", time.Minute)
	client.PrependReactor("patch", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewServiceUnavailable("away")
	})
	require.Error(t, c.Create(t.Context(), a))
	client.ReactionChain = client.ReactionChain[1:]
	require.NoError(t, c.Create(t.Context(), a))
	pod, err := c.pod(t.Context(), a.Ref)
	require.NoError(t, err)
	require.Equal(t, "warm-1-x", pod.Name)
}

func TestFill(t *testing.T) {
	cfg := warming()
	c, client := cluster(t, cfg)
	a := wanting(runA)
	_, key, err := renderWarm(a, cfg)
	require.NoError(t, err)
	ready(t, client, cfg, a, "warm-old", warmLife)
	ready(t, client, cfg, a, "warm-1", time.Minute)
	made := 0
	client.PrependReactor("create", "jobs", func(clienttesting.Action) (bool, runtime.Object, error) {
		made++
		return true, &batchv1.Job{}, nil
	})
	require.NoError(t, c.fill(t.Context(), a, key))
	require.Equal(t, 1, made)
	c.pool.want(a, key)
	c.pool.want(a, key)
	require.Len(t, c.pool.take(), 1)
	require.Empty(t, c.pool.take())
}

func TestPatchIsJSON(t *testing.T) {
	require.True(t, json.Valid(adoption(wanting(runA), "k", &metav1.ObjectMeta{}, time.Now()).json()))
}
