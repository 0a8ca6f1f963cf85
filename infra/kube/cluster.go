package kube

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"golang.org/x/time/rate"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

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
	// creates bounds how fast attempts are made.
	creates *rate.Limiter
	// made are the namespaces of organizations that this process has made or found.
	made sync.Map
	// pool are the kinds of pods that are to be made ready.
	pool *pool
}

var _ infra.Cluster = (*Cluster)(nil)

// NewCluster returns the adapter. The configuration has its defaults filled in
// and was validated.
func NewCluster(client kubernetes.Interface, cfg Config) *Cluster {
	burst := max(1, int(2*cfg.CreatesPerSecond))
	return &Cluster{client: client, cfg: cfg, creates: rate.NewLimiter(rate.Limit(cfg.CreatesPerSecond), burst), pool: newPool()}
}

// Create makes the Job, then the Secret with the input, which belongs to the Job and
// disappears with it. A pod that is faster than its Secret waits for it. A crash
// between the two is mended by the next try of the activity or by Delete.
func (c *Cluster) Create(ctx context.Context, s infra.Sandbox) error {
	secret, job, err := render(s, c.cfg)
	if err != nil {
		return err
	}
	if err := c.creates.Wait(ctx); err != nil {
		return fault.Wrap(fault.Unavailable, err, "wait for the turn of "+s.Name())
	}
	if err := c.makeNamespace(ctx, job.Namespace); err != nil {
		return err
	}
	if c.cfg.Warm && s.Warm > 0 {
		adopted, err := c.adopt(ctx, s, secret)
		if err != nil {
			return err
		}
		if adopted {
			return nil
		}
	}
	created, err := c.createJob(ctx, job)
	if err != nil {
		return err
	}
	secret.OwnerReferences = []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: created.Name, UID: created.UID}}
	return c.createSecret(ctx, secret)
}

// makeNamespace makes the namespace of an organization, before anything is in it. The
// others are there since the worker began.
func (c *Cluster) makeNamespace(ctx context.Context, name string) error {
	if !c.cfg.ManageNamespaces || c.cfg.NamespacePer != PerOrganization {
		return nil
	}
	if _, done := c.made.Load(name); done {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*callTimeout)
	defer cancel()
	if err := ensureNamespace(ctx, c.client, c.cfg, name); err != nil {
		return err
	}
	c.made.Store(name, true)
	return nil
}

// uncontended creates again, at once, what was refused because others were counted for
// the quota of the namespace in the same moment.
func uncontended(create func() error) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, create)
}

func (c *Cluster) createSecret(ctx context.Context, want *corev1.Secret) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	api := c.client.CoreV1().Secrets(want.Namespace)
	err := uncontended(func() error {
		_, err := api.Create(ctx, want, metav1.CreateOptions{})
		return err
	})
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
	api := c.client.BatchV1().Jobs(want.Namespace)
	var created *batchv1.Job
	err := uncontended(func() (err error) {
		created, err = api.Create(ctx, want, metav1.CreateOptions{})
		return err
	})
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

// Observe reads the Job and its pod past every cache. Of a Job that has made no pod
// it also reads why.
func (c *Cluster) Observe(ctx context.Context, ref infra.Ref) (infra.Observed, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var seen infra.Observed
	job, err := c.job(ctx, ref)
	switch {
	case err != nil:
		return infra.Observed{}, err
	case job != nil:
		seen.JobExists, seen.JobFailed, seen.StartBy = true, jobFailure(job), startBy(job)
	}
	pod, err := c.pod(ctx, ref)
	switch {
	case err != nil:
		return infra.Observed{}, err
	case pod != nil:
		seen.Pod = observePod(pod)
		if at := startBy(pod); !at.IsZero() {
			seen.StartBy = at
		}
	case seen.JobExists:
		seen.Refused = c.refused(ctx, job)
	}
	return seen, nil
}

// job returns the Job of an attempt, nil where there is none. The one of a pod that was
// warm has another name.
func (c *Cluster) job(ctx context.Context, ref infra.Ref) (*batchv1.Job, error) {
	jobs := c.client.BatchV1().Jobs(c.cfg.NamespaceOf(ref))
	job, err := jobs.Get(ctx, ref.Name(), metav1.GetOptions{})
	if err == nil {
		return job, nil
	}
	if !apierrors.IsNotFound(err) {
		return nil, interpret(err, "read job "+ref.Name())
	}
	if !c.cfg.Warm {
		return nil, nil //nolint:nilnil // there is none
	}
	list, err := jobs.List(ctx, metav1.ListOptions{LabelSelector: selectorOf(ref), Limit: 1})
	if err != nil {
		return nil, interpret(err, "list jobs of "+ref.Name())
	}
	if len(list.Items) == 0 {
		return nil, nil //nolint:nilnil // there is none
	}
	return &list.Items[0], nil
}

// refused is what the Job controller was told when it wanted to make the pod. Events
// are a help for people and may be missing: without one nothing is known.
func (c *Cluster) refused(ctx context.Context, job *batchv1.Job) string {
	events, err := c.client.CoreV1().Events(job.Namespace).List(ctx, metav1.ListOptions{
		FieldSelector: "involvedObject.kind=Job,involvedObject.name=" + job.Name + ",reason=FailedCreate",
	})
	if err != nil {
		return ""
	}
	var last corev1.Event
	for _, e := range events.Items {
		if e.InvolvedObject.UID == job.UID && !e.LastTimestamp.Before(&last.LastTimestamp) {
			last = e
		}
	}
	return last.Message
}

// pod returns the attempt's newest pod, nil where there is none.
func (c *Cluster) pod(ctx context.Context, ref infra.Ref) (*corev1.Pod, error) {
	list, err := c.client.CoreV1().Pods(c.cfg.NamespaceOf(ref)).
		List(ctx, metav1.ListOptions{LabelSelector: selectorOf(ref)})
	if err != nil {
		return nil, interpret(err, "list pods of "+ref.Name())
	}
	return newest(list.Items), nil
}

// Delete ends the pod with the grace, then removes the Job (Background: the
// default of the API would leave the pod behind) and the input. It looks for a pod
// again when the Job is gone: one that was made in between would have the grace of
// its plan.
func (c *Cluster) Delete(ctx context.Context, ref infra.Ref, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, 2*callTimeout)
	defer cancel()
	ended, err := c.endPod(ctx, ref, grace, "")
	if err != nil {
		return err
	}
	if err := c.remove(ctx, ref); err != nil {
		return err
	}
	_, err = c.endPod(ctx, ref, grace, ended)
	return err
}

// endPod deletes the attempt's newest pod, unless it is the one that was ended
// before, and returns which it is.
func (c *Cluster) endPod(ctx context.Context, ref infra.Ref, grace time.Duration, before types.UID) (types.UID, error) {
	pod, err := c.pod(ctx, ref)
	if err != nil || pod == nil || pod.UID == before {
		return before, err
	}
	// Again, too, if it is being deleted: a shorter grace shortens it.
	err = c.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: gracePeriod(pod, grace),
		Preconditions:      &metav1.Preconditions{UID: &pod.UID},
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return before, interpret(err, "delete pod of "+ref.Name())
	}
	return pod.UID, nil
}

// Clear implements infra.Cluster. The garbage collector takes the ended pod.
func (c *Cluster) Clear(ctx context.Context, ref infra.Ref) error {
	if c.cfg.KeepFinishedJobs {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return c.remove(ctx, ref)
}

// remove deletes the input and the Job, in this order: after its owner the garbage
// collector would look for it.
func (c *Cluster) remove(ctx context.Context, ref infra.Ref) error {
	namespace := c.cfg.NamespaceOf(ref)
	err := c.client.CoreV1().Secrets(namespace).Delete(ctx, ref.Name(), metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return interpret(err, "delete input of "+ref.Name())
	}
	gone, err := c.removeJob(ctx, namespace, ref.Name())
	if err != nil || !gone || !c.cfg.Warm {
		return err
	}
	job, err := c.job(ctx, ref)
	if err == nil && job != nil {
		_, err = c.removeJob(ctx, namespace, job.Name)
	}
	return err
}

// removeJob deletes a Job, and reports whether it was gone before.
func (c *Cluster) removeJob(ctx context.Context, namespace, name string) (gone bool, err error) {
	err = c.client.BatchV1().Jobs(namespace).Delete(ctx, name, metav1.DeleteOptions{
		PropagationPolicy: new(metav1.DeletePropagationBackground),
	})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	return false, interpret(err, "delete job "+name)
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
	if opts.Pod == "" {
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
		opts.Pod = pod.Name
	}
	read := &corev1.PodLogOptions{Container: containerAgent, Follow: opts.Follow, Timestamps: true}
	if !opts.Since.IsZero() {
		read.SinceTime = &metav1.Time{Time: opts.Since.Truncate(time.Second)}
	}
	stream, err := c.client.CoreV1().Pods(c.cfg.NamespaceOf(ref)).GetLogs(opts.Pod, read).Stream(ctx)
	if err != nil {
		return nil, interpret(err, "open log of "+ref.Name())
	}
	return stream, nil
}
