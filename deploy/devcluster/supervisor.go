package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"
)

// phase is where a component is in its life; doc.go draws the steps between them.
type phase string

const (
	phaseWaiting  phase = "waiting"  // for the components it needs
	phaseStarting phase = "starting" // process runs, ready check not passed yet
	phaseReady    phase = "ready"
	phaseBackoff  phase = "backoff" // ended by itself, will be started again
	phaseHeld     phase = "held"    // killed by stop-component, will be started again when the time is over
	phaseStopped  phase = "stopped" // by down, for good
)

const (
	firstBackoff = 200 * time.Millisecond
	maxBackoff   = 10 * time.Second
	healthyAfter = 30 * time.Second // a process that ran this long starts anew with the first backoff
	readyPoll    = 50 * time.Millisecond
	stopGrace    = 10 * time.Second // from SIGTERM to SIGKILL
)

// component is one process that the supervisor keeps running.
type component struct {
	name    string
	argv    []string
	after   []string                    // components that have to be ready first
	prepare func(context.Context) error // runs before each start
	ready   func(context.Context) error // nil error once it does its work
}

// status is what the supervisor tells of a component.
type status struct {
	Name     string    `json:"name"`
	Phase    phase     `json:"phase"`
	PID      int       `json:"pid,omitempty"`
	Restarts int       `json:"restarts"`
	Since    time.Time `json:"since"`
	Error    string    `json:"error,omitempty"` // last failure of start, ready check or process
}

// supervisor starts components in the order of their needs and restarts the ones
// that end.
type supervisor struct {
	layout Layout
	log    *slog.Logger

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at every change of a status
	statuses map[string]*status
	orders   map[string]*order
	runs     sync.WaitGroup
}

// order is what a component was told from outside.
type order struct {
	holdUntil time.Time
	stop      bool
}

func newSupervisor(l Layout, log *slog.Logger) *supervisor {
	return &supervisor{
		layout:   l,
		log:      log,
		changed:  make(chan struct{}),
		statuses: map[string]*status{},
		orders:   map[string]*order{},
	}
}

// start runs the components until they are stopped.
func (s *supervisor) start(components []component) {
	for _, c := range components {
		s.statuses[c.name] = &status{Name: c.name, Phase: phaseWaiting, Since: time.Now()}
		s.orders[c.name] = &order{}
	}
	for _, c := range components {
		s.runs.Go(func() { s.keep(c) })
	}
}

// keep is the life of one component.
func (s *supervisor) keep(c component) {
	defer s.set(c.name, phaseStopped, 0, nil)
	backoff := firstBackoff
	for {
		if time.Now().Before(s.holdUntil(c.name)) {
			s.set(c.name, phaseHeld, 0, nil)
			s.pause(c.name, func() time.Time { return s.holdUntil(c.name) })
			backoff = firstBackoff
		}
		s.set(c.name, phaseWaiting, 0, nil)
		s.await(func() bool {
			o := s.orders[c.name]
			return o.stop || time.Now().Before(o.holdUntil) || s.allReady(c.after)
		})
		if s.stopped(c.name) {
			return
		}
		if time.Now().Before(s.holdUntil(c.name)) {
			continue
		}
		began := time.Now()
		err := s.runOnce(c)
		if s.stopped(c.name) {
			return
		}
		s.countRestart(c.name)
		s.log.Warn("component ended", "component", c.name, "error", err)
		if time.Since(began) > healthyAfter {
			backoff = firstBackoff
		}
		if time.Now().Before(s.holdUntil(c.name)) {
			continue
		}
		s.set(c.name, phaseBackoff, 0, err)
		until := time.Now().Add(backoff)
		s.pause(c.name, func() time.Time { return until })
		backoff = min(2*backoff, maxBackoff)
	}
}

// runOnce starts the process and returns when it ended.
func (s *supervisor) runOnce(c component) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if c.prepare != nil {
		if err := c.prepare(ctx); err != nil {
			return fmt.Errorf("prepare %s: %w", c.name, err)
		}
	}
	logFile, err := openLog(s.layout.Log(c.name))
	if err != nil {
		return err
	}
	defer logFile.Close()

	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Env = componentEnv(s.layout)
	cmd.Dir = s.layout.State
	cmd.Stdout, cmd.Stderr = logFile, logFile
	// A group of its own: a signal for the supervisor's group must not reach it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", c.name, err)
	}
	s.set(c.name, phaseStarting, cmd.Process.Pid, nil)
	if s.stopped(c.name) { // the order came between the start and its record
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
	go s.watchReady(ctx, c, cmd.Process.Pid)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("run %s: %w", c.name, err)
	}
	return fmt.Errorf("run %s: ended with exit code 0", c.name)
}

// watchReady polls the ready check until it passes or the process is gone.
func (s *supervisor) watchReady(ctx context.Context, c component, pid int) {
	for {
		err := c.ready(ctx)
		if ctx.Err() != nil {
			return
		}
		s.mu.Lock()
		st := s.statuses[c.name]
		if st.PID != pid {
			s.mu.Unlock()
			return
		}
		if err == nil {
			st.Phase, st.Since, st.Error = phaseReady, time.Now(), ""
			s.announce()
			s.mu.Unlock()
			s.log.Info("component ready", "component", c.name, "pid", pid)
			return
		}
		st.Error = err.Error()
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(readyPoll):
		}
	}
}

// hold kills a component and keeps it down for a while; zero restarts it at once.
// It returns when the process is gone.
func (s *supervisor) hold(name string, d time.Duration) error {
	s.mu.Lock()
	st, ok := s.statuses[name]
	if !ok {
		s.mu.Unlock()
		return fmt.Errorf("hold component %q: no such component", name)
	}
	s.orders[name].holdUntil = time.Now().Add(d)
	s.announce()
	pid := st.PID
	s.mu.Unlock()
	if pid == 0 {
		return nil
	}
	if err := signalProcess(pid, syscall.SIGKILL); err != nil {
		return err
	}
	s.await(func() bool { return st.PID != pid })
	return nil
}

// stop ends components for good, in the given order, one after the other.
func (s *supervisor) stop(names []string) {
	for _, name := range names {
		s.mu.Lock()
		st, ok := s.statuses[name]
		if !ok {
			s.mu.Unlock()
			continue
		}
		s.orders[name].stop = true
		pid := st.PID
		s.announce()
		s.mu.Unlock()
		if err := signalProcess(pid, syscall.SIGTERM); err != nil {
			s.log.Warn("signal not sent", "component", name, "error", err)
		}
		kill := time.AfterFunc(stopGrace, func() { _ = signalProcess(s.pid(name), syscall.SIGKILL) })
		s.await(func() bool { return s.statuses[name].Phase == phaseStopped })
		kill.Stop()
	}
}

// release ends a hold before its time.
func (s *supervisor) release(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.orders[name]
	if !ok {
		return fmt.Errorf("release component %q: no such component", name)
	}
	o.holdUntil = time.Now()
	s.announce()
	return nil
}

// list returns the components' statuses in the order in which they start.
func (s *supervisor) list() []status {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []status
	for _, st := range s.statuses {
		all = append(all, *st)
	}
	slices.SortFunc(all, func(a, b status) int { return startOrder(a.Name) - startOrder(b.Name) })
	return all
}

func signalProcess(pid int, sig syscall.Signal) error {
	if pid == 0 {
		return nil
	}
	if err := syscall.Kill(pid, sig); err != nil && err != syscall.ESRCH {
		return fmt.Errorf("signal pid %d: %w", pid, err)
	}
	return nil
}

// openLog appends to a component's log; a long one is put aside first.
func openLog(path string) (*os.File, error) {
	const limit = 16 << 20
	if info, err := os.Stat(path); err == nil && info.Size() > limit {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, fmt.Errorf("rotate log: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return f, nil
}
