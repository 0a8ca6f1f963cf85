package simulate

import (
	"sync"
	"time"

	"agentmarket/agentruntime"
	"agentmarket/ids"
	"agentmarket/infra"
)

// Jobs are the attempts of a simulated cluster.
type Jobs struct {
	// Duration is how long the process of an attempt runs. Default: 100 ms.
	Duration func(infra.Sandbox) time.Duration
	// Fails says which attempts end with exit code 1 instead of a result. Default:
	// none.
	Fails func(infra.Sandbox) bool

	mu       sync.Mutex
	jobs     map[string]*job // by the name of the attempt
	watchers map[chan Change]bool
	created  int
	held     bool
	running  map[ids.Org]int
	peak     map[ids.Org]int
}

// job is one attempt. Its timers are stopped by its deletion.
type job struct {
	sandbox infra.Sandbox
	pod     infra.Pod
	end     *time.Timer
}

// Change is the state of an attempt, or that it is gone.
type Change struct {
	Ref  infra.Ref
	Pod  infra.Pod
	Gone bool
	At   time.Time
}

// Hold keeps the processes of all attempts running, those that are made later too,
// until Release.
func (j *Jobs) Hold() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.held = true
	for _, made := range j.jobs {
		made.end.Stop()
	}
}

// Release lets the processes run that Hold has kept: each for its duration from now.
func (j *Jobs) Release() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.held = false
	for _, made := range j.jobs {
		if made.pod.Terminated == nil {
			made.end.Reset(j.duration(made.sandbox))
		}
	}
}

func (j *Jobs) duration(s infra.Sandbox) time.Duration {
	if j.Duration == nil {
		return 100 * time.Millisecond
	}
	return j.Duration(s)
}

// NewJobs returns an empty cluster.
func NewJobs() *Jobs {
	return &Jobs{
		jobs: map[string]*job{}, watchers: map[chan Change]bool{},
		running: map[ids.Org]int{}, peak: map[ids.Org]int{},
	}
}

// Create makes an attempt, which runs at once. One that exists stays as it is.
func (j *Jobs) Create(s infra.Sandbox) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.jobs[s.Name()] != nil {
		return
	}
	now := time.Now()
	made := &job{sandbox: s, pod: infra.Pod{
		Name: s.Name(), CreatedAt: now, ScheduledAt: now, Phase: "Running", Running: &infra.Running{StartedAt: now},
	}}
	j.jobs[s.Name()] = made
	j.created++
	j.running[s.Org]++
	j.peak[s.Org] = max(j.peak[s.Org], j.running[s.Org])
	made.end = time.AfterFunc(j.duration(s), func() { j.finish(s.Ref) })
	if j.held {
		made.end.Stop()
	}
	j.tell(Change{Ref: s.Ref, Pod: made.pod, At: now})
}

// finish ends the process of an attempt.
func (j *Jobs) finish(ref infra.Ref) {
	j.mu.Lock()
	defer j.mu.Unlock()
	made := j.jobs[ref.Name()]
	if made == nil || made.pod.Terminated != nil {
		return
	}
	now := time.Now()
	j.running[made.sandbox.Org]--
	made.pod.Terminated = terminated(made.sandbox, made.pod.Running.StartedAt, now, j.Fails != nil && j.Fails(made.sandbox))
	made.pod.Running, made.pod.Phase = nil, "Succeeded"
	if made.pod.Terminated.ExitCode != 0 {
		made.pod.Phase = "Failed"
	}
	j.tell(Change{Ref: ref, Pod: made.pod, At: now})
}

// terminated is the end of a container with what the supervisor reports of it.
func terminated(s infra.Sandbox, from, to time.Time, fails bool) *infra.Terminated {
	envelope := agentruntime.Envelope{
		V: agentruntime.EnvelopeVersion, Run: s.Run, Attempt: s.Attempt, Outcome: agentruntime.OK, ExitCode: new(0),
		StartedAt: from.UTC(), FinishedAt: to.UTC(),
	}
	end := &infra.Terminated{Reason: "Completed", StartedAt: from, FinishedAt: to}
	if fails {
		envelope.Outcome, envelope.ExitCode = agentruntime.AgentError, new(1)
		end.Reason, end.ExitCode = "Error", int(agentruntime.AgentError.ExitCode())
	} else {
		envelope.SetResult([]byte(`{}`))
	}
	message, err := envelope.Encode()
	if err != nil {
		panic(err) // of this package's own making
	}
	end.Message = string(message)
	return end
}

// Observe reads an attempt.
func (j *Jobs) Observe(ref infra.Ref) infra.Observed {
	j.mu.Lock()
	defer j.mu.Unlock()
	made := j.jobs[ref.Name()]
	if made == nil {
		return infra.Observed{}
	}
	pod := made.pod
	return infra.Observed{JobExists: true, Pod: &pod}
}

// Delete removes an attempt at once.
func (j *Jobs) Delete(ref infra.Ref) {
	j.mu.Lock()
	defer j.mu.Unlock()
	made := j.jobs[ref.Name()]
	if made == nil {
		return
	}
	made.end.Stop()
	if made.pod.Terminated == nil {
		j.running[made.sandbox.Org]--
	}
	delete(j.jobs, ref.Name())
	j.tell(Change{Ref: ref, Pod: made.pod, Gone: true, At: time.Now()})
}

// tell hands a change to everybody who watches. One who does not keep up is
// dropped, and looks at everything again.
func (j *Jobs) tell(c Change) {
	for watcher := range j.watchers {
		select {
		case watcher <- c:
		default:
			delete(j.watchers, watcher)
			close(watcher)
		}
	}
}

// watch returns everything that there is, and the changes that follow; the channel
// is closed when a change was lost.
func (j *Jobs) watch() (now []Change, changes chan Change) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, made := range j.jobs {
		now = append(now, Change{Ref: made.sandbox.Ref, Pod: made.pod, At: time.Now()})
	}
	changes = make(chan Change, 10_000)
	j.watchers[changes] = true
	return now, changes
}

func (j *Jobs) unwatch(changes chan Change) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.watchers, changes)
}

// Created is how many attempts were ever made.
func (j *Jobs) Created() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.created
}

// Peak is how many attempts of an organization ran at once at most.
func (j *Jobs) Peak(org ids.Org) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.peak[org]
}

// Running is how many attempts run now.
func (j *Jobs) Running() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	sum := 0
	for _, n := range j.running {
		sum += n
	}
	return sum
}
