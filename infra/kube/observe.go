package kube

import (
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"agentmarket/infra"
)

// observePod reads what Classify needs of a pod. It is pure.
func observePod(p *corev1.Pod) *infra.Pod {
	pod := &infra.Pod{
		Name: p.Name, Node: p.Spec.NodeName, CreatedAt: p.CreationTimestamp.Time, Deleting: p.DeletionTimestamp != nil,
		Phase: string(p.Status.Phase), Reason: p.Status.Reason, Message: p.Status.Message,
	}
	if p.DeletionTimestamp != nil {
		pod.GoneBy = p.DeletionTimestamp.Time
	}
	for _, c := range p.Status.Conditions {
		switch {
		case c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue:
			pod.Disruption = c.Reason
		case c.Type == corev1.PodScheduled && c.Status == corev1.ConditionTrue:
			pod.ScheduledAt = c.LastTransitionTime.Time
		case c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable:
			pod.Unschedulable = c.Message
		case c.Type == corev1.PodReadyToStartContainers:
			pod.Sandboxed = c.Status == corev1.ConditionTrue
		}
	}
	// An init container that waits or failed holds the agent's container back:
	// its state is the pod's.
	for _, c := range p.Status.InitContainerStatuses {
		if w := c.State.Waiting; w != nil {
			pod.Waiting = &infra.Waiting{Reason: w.Reason, Message: w.Message, Runtime: true}
		}
	}
	for _, c := range p.Status.ContainerStatuses {
		if c.Name != containerAgent {
			continue
		}
		switch {
		case c.State.Terminated != nil:
			t := c.State.Terminated
			pod.Waiting = nil
			pod.Terminated = &infra.Terminated{
				Reason: t.Reason, Message: t.Message, ExitCode: int(t.ExitCode),
				StartedAt: began(p, t.StartedAt.Time), FinishedAt: t.FinishedAt.Time,
			}
			if !t.FinishedAt.IsZero() && pod.Terminated.StartedAt.After(t.FinishedAt.Time) { // two clocks
				pod.Terminated.StartedAt = t.FinishedAt.Time
			}
		case c.State.Running != nil:
			pod.Waiting = nil
			pod.Running = &infra.Running{StartedAt: began(p, c.State.Running.StartedAt.Time)}
		case c.State.Waiting != nil && pod.Waiting == nil:
			w := c.State.Waiting
			pod.Waiting = &infra.Waiting{Reason: w.Reason, Message: w.Message, Runtime: ofImageVolume(p, w.Message)}
		}
	}
	return pod
}

// began is when a container began with its run: when it started, or later, if its pod was
// warm before. One that never started has no time.
func began(p *corev1.Pod, started time.Time) time.Time {
	adopted, err := time.Parse(time.RFC3339, p.Annotations[annotationAdopted])
	if err != nil || started.IsZero() || adopted.Before(started) {
		return started
	}
	return adopted
}

// ofImageVolume reports whether a message is about the image of a volume: the kubelet
// tells of it as if it were that of the container.
func ofImageVolume(p *corev1.Pod, message string) bool {
	for _, v := range p.Spec.Volumes {
		if v.Image != nil && v.Image.Reference != "" && strings.Contains(message, v.Image.Reference) {
			return true
		}
	}
	return false
}

// observedOf is what a pod alone says of its attempt.
func observedOf(p *corev1.Pod) infra.Observed {
	return infra.Observed{JobExists: true, StartBy: startBy(p), Pod: observePod(p)}
}

// startBy is when the agent must have started; zero: the object does not say it.
func startBy(o metav1.Object) time.Time {
	seconds, err := strconv.ParseInt(o.GetAnnotations()[annotationStart], 10, 64)
	if err != nil {
		return time.Time{}
	}
	return o.GetCreationTimestamp().Add(time.Duration(seconds) * time.Second)
}

// newest is the newest of an attempt's pods. A Job of ours makes one; after a
// disruption Kubernetes may show two for a moment.
func newest(pods []corev1.Pod) *corev1.Pod {
	var found *corev1.Pod
	for i := range pods {
		if p := &pods[i]; found == nil || found.CreationTimestamp.Before(&p.CreationTimestamp) {
			found = p
		}
	}
	return found
}

// jobFailure reads the Job's Failed condition as "reason: message".
func jobFailure(job *batchv1.Job) string {
	for _, c := range job.Status.Conditions {
		failing := c.Type == batchv1.JobFailed || c.Type == batchv1.JobFailureTarget
		if failing && c.Status == corev1.ConditionTrue {
			return c.Reason + ": " + c.Message
		}
	}
	return ""
}

// trim drops what is never read from the informer's copy of a pod: at 10,000
// pods the rest would be most of the worker's memory.
func trim(obj any) (any, error) {
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return obj, nil
	}
	p.ManagedFields = nil
	p.Annotations = keep(p.Annotations, annotationStart, annotationAdopted)
	p.Labels = keep(p.Labels, labelRun, labelAttempt, labelOrg, labelTier)
	p.OwnerReferences = nil
	p.Spec = corev1.PodSpec{NodeName: p.Spec.NodeName, Volumes: imageVolumes(p.Spec.Volumes)}
	p.Status.EphemeralContainerStatuses = nil
	p.Status.HostIPs, p.Status.PodIPs = nil, nil
	return p, nil
}

// imageVolumes are those volumes that an image is behind.
func imageVolumes(all []corev1.Volume) (images []corev1.Volume) {
	for _, v := range all {
		if v.Image != nil && v.Image.Reference != "" {
			images = append(images, v)
		}
	}
	return images
}

// keep is a map with only these keys of it.
func keep(all map[string]string, keys ...string) map[string]string {
	kept := make(map[string]string, len(keys))
	for _, key := range keys {
		if value, ok := all[key]; ok {
			kept[key] = value
		}
	}
	return kept
}
