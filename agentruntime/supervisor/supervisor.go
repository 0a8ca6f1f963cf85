//go:build linux

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"agentmarket/agentruntime"
)

// Config is all that a supervisor depends on.
type Config struct {
	// Launch is what the platform said about the attempt.
	agentruntime.Launch
	// Environ is the inherited environment, as os.Environ returns it. Variables
	// that begin with AGENT_ or KUBERNETES_ do not reach the agent.
	Environ []string
	// Stdout and Stderr are the container's log. A nil one discards.
	Stdout, Stderr io.Writer
	// Call is one call of the gateway with the pod's token, an error for every answer
	// but success. Nil: there is no gateway.
	Call func(ctx context.Context, method, path string, body []byte) error
	// Redact keeps secrets out of what the agent prints and returns. Nil: it has none.
	Redact *agentruntime.Redactor
	// Proxy is the URL of the proxy through which the agent connects to hosts. Empty: it
	// connects to none.
	Proxy string
	// Init says that this process is PID 1 of its namespace: it reaps orphans
	// and kills everything when the agent ends. Elsewhere that would hit
	// processes of others, so only the agent's process group is killed.
	Init bool
	// DrainTimeout bounds the wait for the agent's last output after its death.
	// 0 means 2 s.
	DrainTimeout time.Duration
	// WriteTimeout bounds the wait for a log that accepts nothing. 0 means 5 s.
	WriteTimeout time.Duration
	// Now is the clock. Nil means time.Now.
	Now func() time.Time

	// diskFull reports whether the file system of a directory is full. Tests
	// replace it.
	diskFull func(dir string) bool
}

// Supervisor runs one attempt.
type Supervisor struct{ Config }

// attempt is one Run on its way.
type attempt struct {
	Config
	stdout, stderr *stream
	process        *process
	oomBefore      int64
	end            ending
}

// Run runs the agent to its end and reports. Cancelling ctx is SIGTERM from
// outside. Run writes the envelope to the termination log as its last act and
// returns the same envelope with the exit code for the container. It does not
// panic; where it cannot report it writes why to Stderr and returns
// ExitPlatform.
func (s Supervisor) Run(ctx context.Context) (agentruntime.Envelope, agentruntime.ExitCode) {
	a := newAttempt(s.Config)
	a.guarded("run the agent", func() error { return a.run(ctx) })
	a.guarded("clear up", a.clear)
	a.guarded("read the result", a.readResult)
	a.end.finishedAt = a.Now()
	return a.report()
}

func newAttempt(c Config) *attempt {
	c.Launch = c.Launch.WithDefaults()
	if c.Stdout == nil {
		c.Stdout = io.Discard
	}
	if c.Stderr == nil {
		c.Stderr = io.Discard
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = 2 * time.Second
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = 5 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.diskFull == nil {
		c.diskFull = diskFull
	}
	a := &attempt{Config: c}
	a.stdout = newStream(c.Stdout, c.MaxResult, c.Redact.Stream())
	a.stderr = newStream(c.Stderr, agentruntime.MaxMessageBytes, c.Redact.Stream())
	a.end.startedAt = c.Now()
	return a
}

// guarded calls f and keeps its error or panic as the platform's fault. The
// first fault is the cause, later ones follow from it.
func (a *attempt) guarded(verb string, f func() error) {
	defer func() {
		if r := recover(); r != nil && a.end.fault == nil {
			a.end.fault = fmt.Errorf("%s: panic: %v", verb, r)
		}
	}()
	if err := f(); err != nil && a.end.fault == nil {
		a.end.fault = fmt.Errorf("%s: %w", verb, err)
	}
}

// run prepares, starts and supervises. Its error is the platform's fault; what
// the agent or its publisher did wrong is in a.end.
func (a *attempt) run(ctx context.Context) error {
	if err := a.Launch.Validate(); err != nil {
		return err
	}
	input, err := os.Open(a.InputFile)
	if err != nil {
		a.end.inputFault = err
		return nil
	}
	defer input.Close()
	if err := os.MkdirAll(filepath.Dir(a.OutputFile), 0o700); err != nil {
		return fmt.Errorf("make the output directory: %w", err)
	}
	a.oomBefore = oomKills(a.CgroupDir)

	env := a.environment()
	path, err := lookPath(a.Command[0], env)
	if err != nil {
		a.end.startFault = err
		return nil
	}
	stdoutEnd, err := a.stdout.pipe()
	if err != nil {
		return err
	}
	defer stdoutEnd.Close()
	stderrEnd, err := a.stderr.pipe()
	if err != nil {
		return err
	}
	defer stderrEnd.Close()

	a.end.startedAt = a.Now()
	a.process, err = startProcess(path, a.Command, &syscall.ProcAttr{
		Dir: a.WorkDir, Env: append(env, agentruntime.EnvDeadline+"="+a.end.startedAt.Add(a.RunTimeout).UTC().Format(time.RFC3339)),
		Files: []uintptr{input.Fd(), stdoutEnd.Fd(), stderrEnd.Fd()},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	}, a.Init)
	if err != nil {
		if isPlatformErrno(err) {
			return fmt.Errorf("start the command: %w", err)
		}
		a.end.startFault = err
		return nil
	}
	// The agent holds the only writing ends now, so its death ends the pumps.
	stdoutEnd.Close()
	stderrEnd.Close()
	a.stdout.start()
	a.stderr.start()
	return a.supervise(ctx)
}

// supervise waits for the end of the agent's main process and makes it end.
func (a *attempt) supervise(ctx context.Context) error {
	deadline := time.NewTimer(a.RunTimeout)
	defer deadline.Stop()
	var (
		terminated = ctx.Done()
		expired    = deadline.C
		kill       <-chan time.Time
		fault      error
	)
	stop := func(cause stopCause, grace time.Duration) {
		terminated, expired = nil, nil
		a.end.stop = cause
		if grace <= 0 {
			a.process.kill()
			return
		}
		a.process.signal(syscall.SIGTERM)
		kill = time.After(grace)
	}
	for {
		select {
		case <-a.process.exited:
			return fault
		case <-terminated:
			// An agent that ended by itself in the same moment was not stopped.
			if !a.process.hasExited() {
				stop(stoppedFromOutside, a.Grace)
			}
			terminated = nil
		case <-expired:
			if !a.process.hasExited() {
				stop(stoppedAtDeadline, a.Grace)
			}
			expired = nil
		case <-kill:
			a.end.killed = true
			a.process.kill()
		case fault = <-a.stdout.broken:
			stop(stoppedByFault, 0)
		case fault = <-a.stderr.broken:
			stop(stoppedByFault, 0)
		}
	}
}

// clear kills and reaps what the agent left behind and takes its last output.
func (a *attempt) clear() error {
	if a.process == nil {
		return nil
	}
	status, err := a.process.finish(a.DrainTimeout)
	if err != nil {
		return err
	}
	a.end.status = &status
	bound, cancel := context.WithTimeout(context.Background(), a.DrainTimeout)
	defer cancel()
	a.stdout.drain(bound.Done())
	a.stderr.drain(bound.Done())
	if err := errors.Join(a.stdout.close(a.WriteTimeout), a.stderr.close(a.WriteTimeout)); err != nil {
		return err
	}
	a.end.stdoutBytes, a.end.stderrBytes = a.stdout.count, a.stderr.count
	line, _ := a.stderr.last.get()
	a.end.lastError = string(line)
	a.end.oomKilled = oomKills(a.CgroupDir) > a.oomBefore
	return nil
}

// environment is what the agent inherits and the contract's own variables,
// without the deadline, which is known only when the agent starts.
func (a *attempt) environment() []string {
	own := []string{
		"HOME=" + a.WorkDir,
		"PWD=" + a.WorkDir,
		agentruntime.EnvInput + "=" + a.InputFile,
		agentruntime.EnvOutput + "=" + a.OutputFile,
		agentruntime.EnvRunID + "=" + string(a.Run),
		agentruntime.EnvAttempt + "=" + strconv.Itoa(a.Attempt),
	}
	if a.Gateway != "" {
		own = append(own, agentruntime.EnvGateway+"="+a.Gateway, agentruntime.EnvTokenFile+"="+a.TokenFile)
	}
	if a.SecretFiles {
		own = append(own, agentruntime.EnvSecrets+"="+agentruntime.SecretsDir)
	}
	if a.Proxy != "" {
		direct := "localhost,127.0.0.1,::1"
		if gateway, err := url.Parse(a.Gateway); err == nil {
			direct = gateway.Hostname() + "," + direct
		}
		for _, name := range []string{"HTTPS_PROXY", "https_proxy"} {
			own = append(own, name+"="+a.Proxy)
		}
		for _, name := range []string{"NO_PROXY", "no_proxy"} {
			own = append(own, name+"="+direct)
		}
	}
	env := []string{"PATH=" + defaultPath} // replaced where the image has one
	for _, entry := range a.Environ {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case name == "PATH" && value != "":
			env[0] = entry
		case a.Proxy != "" && strings.HasSuffix(strings.ToUpper(name), "_PROXY"): // of the image
		case name == "" || name == "PATH" || name == "HOME" || name == "PWD" || name == "OLDPWD":
		case strings.HasPrefix(name, agentruntime.EnvPrefix):
		case strings.HasPrefix(name, "KUBERNETES_"): // the kubelet's hints where the API server is
		default:
			env = append(env, entry)
		}
	}
	return append(env, own...)
}
