//go:build linux

package supervisor

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Harden closes this process to the agent, which has the same user id: without
// it the agent could open /proc/1/fd and write frames past the filter, or read
// the supervisor's memory. The agent's own processes are not affected, exec
// resets the attribute.
func Harden() error {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_DUMPABLE, 0, 0); errno != 0 {
		return fmt.Errorf("make the process non-dumpable: %w", errno)
	}
	return nil
}

// Signals returns a context that is cancelled by SIGTERM or SIGINT, and makes
// every other signal that can be caught harmless. The latter matters because an
// agent may send signals to its container's first process, and the Go runtime
// dies of several, such as SIGQUIT and a SIGSEGV that was sent. They are caught,
// not ignored: ignoring is inherited by the agent.
func Signals(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(parent, syscall.SIGTERM, syscall.SIGINT)
	var others []os.Signal
	for s := syscall.Signal(1); s < 32; s++ {
		switch s {
		case syscall.SIGTERM, syscall.SIGINT, syscall.SIGKILL, syscall.SIGSTOP:
		case syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPROF: // the runtime's own, harmless
		default:
			others = append(others, s)
		}
	}
	// Nobody reads the channel: package signal drops what does not fit.
	nobody := make(chan os.Signal, 1)
	signal.Notify(nobody, others...)
	return ctx, func() {
		signal.Stop(nobody)
		stop()
	}
}
