package e2e

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// recordedPods is where package infra/kube reads what was seen of pods.
const recordedPods = "../infra/kube/testdata/pods"

// podRecorder keeps the first attempt's pod of each run, as it was when its end was seen
// first, which is when it is judged; of one that never started, as it was last seen
// before the platform deleted it.
type podRecorder struct {
	mu    sync.Mutex
	last  map[string]*corev1.Pod // by run
	ended map[string]bool
}

// recordPods watches the pods of the platform until the test ends.
func recordPods(t *testing.T, s *Stack) *podRecorder {
	t.Helper()
	r := &podRecorder{last: map[string]*corev1.Pod{}, ended: map[string]bool{}}
	if !recording() {
		return r
	}
	ctx, stop := context.WithCancel(t.Context())
	watch, err := s.Kube.CoreV1().Pods(metav1.NamespaceAll).Watch(ctx, metav1.ListOptions{LabelSelector: "agentmarket.dev/attempt=1"})
	require.NoError(t, err)
	var group sync.WaitGroup
	t.Cleanup(func() { stop(); watch.Stop(); group.Wait() })
	group.Go(func() {
		for event := range watch.ResultChan() {
			if pod, ok := event.Object.(*corev1.Pod); ok {
				r.saw(pod)
			}
		}
	})
	return r
}

func (r *podRecorder) saw(pod *corev1.Pod) {
	ended := pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
	for _, c := range pod.Status.ContainerStatuses {
		ended = ended || c.State.Terminated != nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	run := pod.Labels["agentmarket.dev/run-id"]
	if pod.DeletionTimestamp != nil && (!ended || r.ended[run] || neverStarted(pod)) {
		return
	}
	r.last[run], r.ended[run] = pod, ended
}

// neverStarted reports whether the end of a pod is that of its deletion, before which
// it waited.
func neverStarted(pod *corev1.Pod) bool {
	for _, c := range pod.Status.ContainerStatuses {
		if t := c.State.Terminated; t != nil && !t.StartedAt.IsZero() {
			return false
		}
	}
	return true
}

// write writes the pods of the failures that got one.
func (r *podRecorder) write(t *testing.T, all []*failure) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range all {
		pod := r.last[c.run.ID]
		if pod == nil || c.known {
			continue
		}
		text, err := yaml.Marshal(withoutNoise(pod))
		require.NoError(t, err)
		head := fmt.Sprintf("# reason: %s\n# Recorded by make failures: %s.\n", c.reason, c.does)
		require.NoError(t, os.WriteFile(filepath.Join(recordedPods, c.agent+".yaml"), append([]byte(head), text...), 0o644))
	}
}

// withoutNoise is a pod as Kubernetes told it, without what is of this one cluster.
func withoutNoise(p *corev1.Pod) *corev1.Pod {
	containers := func(all []corev1.Container) (some []corev1.Container) {
		for _, c := range all {
			some = append(some, corev1.Container{Name: c.Name, Image: c.Image})
		}
		return some
	}
	statuses := func(all []corev1.ContainerStatus) (some []corev1.ContainerStatus) {
		for _, c := range all {
			if c.State.Terminated != nil {
				c.State.Terminated.ContainerID = ""
			}
			some = append(some, corev1.ContainerStatus{Name: c.Name, Image: c.Image, State: c.State, Started: c.Started})
		}
		return some
	}
	node := ""
	if p.Spec.NodeName != "" {
		node = "node-1"
	}
	return &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name: p.Name, Namespace: "runs", Labels: ours(p.Labels), Annotations: p.Annotations, CreationTimestamp: p.CreationTimestamp,
			DeletionTimestamp: p.DeletionTimestamp, DeletionGracePeriodSeconds: p.DeletionGracePeriodSeconds,
		},
		Spec: corev1.PodSpec{
			NodeName: node, RestartPolicy: p.Spec.RestartPolicy, Volumes: p.Spec.Volumes,
			InitContainers: containers(p.Spec.InitContainers), Containers: containers(p.Spec.Containers),
		},
		Status: corev1.PodStatus{
			Phase: p.Status.Phase, Reason: p.Status.Reason, Message: p.Status.Message, Conditions: withoutProbes(p.Status.Conditions),
			StartTime: p.Status.StartTime, QOSClass: p.Status.QOSClass,
			InitContainerStatuses: statuses(p.Status.InitContainerStatuses), ContainerStatuses: statuses(p.Status.ContainerStatuses),
		},
	}
}

// ours are the labels of the platform.
func ours(labels map[string]string) map[string]string {
	labels = maps.Clone(labels)
	maps.DeleteFunc(labels, func(key, _ string) bool {
		return strings.HasSuffix(key, "controller-uid") || strings.HasSuffix(key, "job-name")
	})
	return labels
}

// withoutProbes are the conditions without when they were looked at.
func withoutProbes(all []corev1.PodCondition) (some []corev1.PodCondition) {
	for _, c := range all {
		c.LastProbeTime, c.ObservedGeneration = metav1.Time{}, 0
		some = append(some, c)
	}
	return some
}
