package main

import "time"

// set records a component's phase and tells those who wait for a change.
func (s *supervisor) set(name string, p phase, pid int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.statuses[name]
	st.Phase, st.PID, st.Since = p, pid, time.Now()
	if err != nil {
		st.Error = err.Error()
	}
	s.announce()
}

// announce wakes everybody in await and pause; s.mu is held.
func (s *supervisor) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// await blocks until cond, which is called with s.mu held, is true.
func (s *supervisor) await(cond func() bool) {
	for {
		s.mu.Lock()
		ok, changed := cond(), s.changed
		s.mu.Unlock()
		if ok {
			return
		}
		<-changed
	}
}

// pause sleeps until a time that may be moved meanwhile, or until the component
// is stopped for good.
func (s *supervisor) pause(name string, until func() time.Time) {
	for {
		wait := time.Until(until())
		s.mu.Lock()
		stop, changed := s.orders[name].stop, s.changed
		s.mu.Unlock()
		if stop || wait <= 0 {
			return
		}
		select {
		case <-changed:
		case <-time.After(wait):
		}
	}
}

// allReady is called with s.mu held.
func (s *supervisor) allReady(names []string) bool {
	for _, name := range names {
		if s.statuses[name].Phase != phaseReady {
			return false
		}
	}
	return true
}

func (s *supervisor) stopped(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.orders[name].stop
}

func (s *supervisor) holdUntil(name string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.orders[name].holdUntil
}

func (s *supervisor) pid(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.statuses[name].PID
}

func (s *supervisor) countRestart(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statuses[name].Restarts++
}
