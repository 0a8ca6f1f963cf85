//go:build linux

package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// defaultPath is what container runtimes use for an image without a PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// process is the agent's main process. It stays a zombie from its death to
// finish, so that its number cannot be given to another process in between and
// signals always hit the right one.
type process struct {
	pid    int
	init   bool
	exited chan struct{} // closed when the main process is dead
}

func startProcess(path string, argv []string, attr *syscall.ProcAttr, init bool) (*process, error) {
	pid, err := forkBelow(path, argv, attr)
	if err != nil {
		return nil, &os.PathError{Op: "start", Path: path, Err: err}
	}
	p := &process{pid: pid, init: init, exited: make(chan struct{})}
	go p.watch()
	return p, nil
}

// behind is the nice value of agents: the supervisor shares their processor time, and
// five hundred processes that take what they can must not keep it from ending them.
// Between pods it counts for nothing.
const behind = 19

// forkBelow is syscall.ForkExec with a lower priority from the first instruction on. It is
// that of the thread, which cannot be raised again: the thread ends.
func forkBelow(path string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, behind) // without it is how it was
		pid, err = syscall.ForkExec(path, argv, attr)
	}()
	<-done
	return pid, err
}

// watch waits for the main process. As PID 1 it also reaps the orphans that the
// kernel hands over, or they would use up the pod's process limit.
func (p *process) watch() {
	defer close(p.exited)
	for {
		idType, id := idPID, p.pid
		if p.init {
			idType, id = idAll, 0
		}
		pid, err := peekDead(idType, id)
		if err != nil || pid == p.pid {
			return // finish meets the same error and reports it
		}
		var status syscall.WaitStatus
		_, _ = syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
	}
}

func (p *process) hasExited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// signal goes to the agent's process group, and to the main process in case it
// moved to another group.
func (p *process) signal(sig syscall.Signal) {
	_ = syscall.Kill(-p.pid, sig)
	_ = syscall.Kill(p.pid, sig)
}

// kill ends everything that can be reached.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	if p.init {
		_ = syscall.Kill(-1, syscall.SIGKILL)
	}
}

// finish kills what is left, reaps it and returns how the main process ended.
// It is called once.
func (p *process) finish(bound time.Duration) (syscall.WaitStatus, error) {
	p.kill()
	<-p.exited
	var status syscall.WaitStatus
	if _, err := wait4(p.pid, &status); err != nil {
		return 0, fmt.Errorf("wait for process %d: %w", p.pid, err)
	}
	if !p.init {
		return status, nil
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			var other syscall.WaitStatus
			if _, err := wait4(-1, &other); err != nil {
				return // ECHILD: nobody is left
			}
		}
	}()
	select {
	case <-gone:
		return status, nil
	case <-time.After(bound):
		return 0, errors.New("wait for the agent's processes: they survive SIGKILL")
	}
}

func wait4(pid int, status *syscall.WaitStatus) (int, error) {
	for {
		got, err := syscall.Wait4(pid, status, 0, nil)
		if !errors.Is(err, syscall.EINTR) {
			return got, err
		}
	}
}

// The constants of waitid(2) that package syscall lacks.
const (
	idAll = 0
	idPID = 1
)

// peekDead blocks until a child is dead, does not reap it and returns its pid.
func peekDead(idType, id int) (int, error) {
	// siginfo_t has 128 bytes; si_pid follows three ints, aligned to the word.
	var info [128 / unsafe.Sizeof(uintptr(0))]uintptr
	const word = unsafe.Sizeof(uintptr(0))
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, uintptr(idType), uintptr(id),
			uintptr(unsafe.Pointer(&info)), syscall.WEXITED|syscall.WNOWAIT, 0, 0)
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 {
			return 0, errno
		}
		offset := (3*4 + word - 1) / word * word
		return int(*(*int32)(unsafe.Add(unsafe.Pointer(&info), offset))), nil
	}
}

// lookPath finds a program in the agent's own PATH. A name with a slash is a
// path already; a relative one counts from the work directory.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	var found error = &os.PathError{Op: "find", Path: name, Err: errors.New("not in PATH")}
	for _, dir := range filepath.SplitList(pathOf(env)) {
		if !filepath.IsAbs(dir) {
			continue // "." would run what the agent wrote
		}
		file := filepath.Join(dir, name)
		info, err := os.Stat(file)
		if err != nil || info.IsDir() {
			continue
		}
		if info.Mode()&0o111 == 0 {
			found = &os.PathError{Op: "start", Path: file, Err: syscall.EACCES}
			continue
		}
		return file, nil
	}
	return "", found
}

func pathOf(env []string) string {
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, "PATH="); ok {
			return value
		}
	}
	return ""
}

// isPlatformErrno separates a node without resources from a bad command.
func isPlatformErrno(err error) bool {
	for _, errno := range []syscall.Errno{syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.EIO} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
