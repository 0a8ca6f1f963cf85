package kube

import (
	"bytes"
	"context"
	"io"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/infra"
)

// callTimeout bounds one call to the API server. It is well below the timeouts
// of the activities, so that no call outlives the activity that made it.
const callTimeout = 5 * time.Second

// Cluster is infra.Cluster on a real API server.
type Cluster struct {
	client kubernetes.Interface
	cfg    Config
}

var _ infra.Cluster = (*Cluster)(nil)

// NewCluster returns the adapter. The configuration has its defaults filled in
// and was validated.
func NewCluster(client kubernetes.Interface, cfg Config) *Cluster {
	return &Cluster{client: client, cfg: cfg}
}

// Create makes the Secret with the input, then the Job, then gives the Secret to
// the Job so that it disappears with it. A crash between the steps is mended by
// the next attempt of the activity or by Delete.
func (c *Cluster) Create(ctx context.Context, s infra.Sandbox) error {
	secret, job, err := render(s, c.cfg)
	if err != nil {
		return err
	}
	if err := c.createSecret(ctx, secret); err != nil {
		return err
	}
	created, err := c.createJob(ctx, job)
	if err != nil {
		return err
	}
	return c.adopt(ctx, secret, created)
}

func (c *Cluster) createSecret(ctx context.Context, want *corev1.Secret) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	api := c.client.CoreV1().Secrets(c.cfg.Namespace)
	_, err := api.Create(ctx, want, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return interpret(err, "create input of "+want.Name)
	}
	have, err := api.Get(ctx, want.Name, metav1.GetOptions{})
	if err != nil {
		return interpret(err, "read input of "+want.Name)
	}
	if !bytes.Equal(have.Data[inputKey], want.Data[inputKey]) {
		return fault.Newf(fault.Conflict, "", "the input of %s exists with other content", want.Name)
	}
	return nil
}

func (c *Cluster) createJob(ctx context.Context, want *batchv1.Job) (*batchv1.Job, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	api := c.client.BatchV1().Jobs(c.cfg.Namespace)
	created, err := api.Create(ctx, want, metav1.CreateOptions{})
	if err == nil {
		return created, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return nil, interpret(err, "create job "+want.Name)
	}
	have, err := api.Get(ctx, want.Name, metav1.GetOptions{})
	if err != nil {
		return nil, interpret(err, "read job "+want.Name)
	}
	if have.Annotations[annotationSpecHash] != want.Annotations[annotationSpecHash] {
		return nil, fault.Newf(fault.Conflict, "", "job %s exists with another spec", want.Name)
	}
	return have, nil
}

// adopt makes the Job the owner of the input.
func (c *Cluster) adopt(ctx context.Context, secret *corev1.Secret, job *batchv1.Job) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	patch, err := ownerPatch(job)
	if err != nil {
		return err
	}
	_, err = c.client.CoreV1().Secrets(c.cfg.Namespace).
		Patch(ctx, secret.Name, patchType, patch, metav1.PatchOptions{})
	return interpret(err, "adopt input of "+secret.Name)
}

// Observe reads the Job and its pod past every cache.
func (c *Cluster) Observe(ctx context.Context, ref infra.Ref) (infra.Observed, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var seen infra.Observed
	job, err := c.client.BatchV1().Jobs(c.cfg.Namespace).Get(ctx, ref.Name(), metav1.GetOptions{})
	switch {
	case err == nil:
		seen.JobExists, seen.JobFailed = true, jobFailure(job)
	case !apierrors.IsNotFound(err):
		return infra.Observed{}, interpret(err, "read job "+ref.Name())
	}
	pod, err := c.pod(ctx, ref)
	if err != nil {
		return infra.Observed{}, err
	}
	if pod != nil {
		seen.Pod = observePod(pod)
	}
	return seen, nil
}

// pod returns the attempt's newest pod, nil where there is none. A Job of ours
// makes one; after a disruption Kubernetes may show two for a moment.
func (c *Cluster) pod(ctx context.Context, ref infra.Ref) (*corev1.Pod, error) {
	list, err := c.client.CoreV1().Pods(c.cfg.Namespace).
		List(ctx, metav1.ListOptions{LabelSelector: selectorOf(ref)})
	if err != nil {
		return nil, interpret(err, "list pods of "+ref.Name())
	}
	var newest *corev1.Pod
	for i := range list.Items {
		p := &list.Items[i]
		if newest == nil || newest.CreationTimestamp.Before(&p.CreationTimestamp) {
			newest = p
		}
	}
	return newest, nil
}

// Delete ends the pod with the grace, then removes the Job (Background: the
// default of the API would leave the pod behind) and the input.
func (c *Cluster) Delete(ctx context.Context, ref infra.Ref, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, 2*callTimeout)
	defer cancel()
	pod, err := c.pod(ctx, ref)
	if err != nil {
		return err
	}
	if pod != nil { // again, too, if it is being deleted: a shorter grace shortens it
		err := c.client.CoreV1().Pods(c.cfg.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
			GracePeriodSeconds: gracePeriod(pod, grace),
			Preconditions:      &metav1.Preconditions{UID: &pod.UID},
		})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return interpret(err, "delete pod of "+ref.Name())
		}
	}
	err = c.client.BatchV1().Jobs(c.cfg.Namespace).Delete(ctx, ref.Name(), metav1.DeleteOptions{
		PropagationPolicy: new(metav1.DeletePropagationBackground),
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return interpret(err, "delete job "+ref.Name())
	}
	err = c.client.CoreV1().Secrets(c.cfg.Namespace).Delete(ctx, ref.Name(), metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return interpret(err, "delete input of "+ref.Name())
	}
	return nil
}

// gracePeriod is the time between SIGTERM and the kubelet's SIGKILL. With the
// grace of the plan, the supervisor ends the agent itself and the pod's own
// period leaves it time to report; a shorter grace is the kubelet's to enforce.
func gracePeriod(pod *corev1.Pod, grace time.Duration) *int64 {
	if grace < 0 {
		return new(int64(0))
	}
	own := pod.Spec.TerminationGracePeriodSeconds
	if own != nil && wholeSeconds(grace+agentruntime.FinishTime) >= *own {
		return nil
	}
	// Not 0: that removes the pod from the API server at once, before the
	// kubelet has ended its process, and its absence would prove nothing.
	return new(max(wholeSeconds(grace), 1))
}

// Logs opens the log of the agent's container.
func (c *Cluster) Logs(ctx context.Context, ref infra.Ref, opts infra.LogOptions) (io.ReadCloser, error) {
	pod, err := c.pod(ctx, ref)
	if err != nil {
		return nil, err
	}
	if pod == nil {
		return nil, fault.New(fault.NotFound, "log_not_ready", "there is no log yet")
	}
	if p := observePod(pod); p.Running == nil && p.Terminated == nil {
		return nil, fault.New(fault.NotFound, "log_not_ready", "the agent has not started")
	}
	read := &corev1.PodLogOptions{Container: containerAgent, Follow: opts.Follow}
	stream, err := c.client.CoreV1().Pods(c.cfg.Namespace).GetLogs(pod.Name, read).Stream(ctx)
	if err != nil {
		return nil, interpret(err, "open log of "+ref.Name())
	}
	return stream, nil
}
