//go:build linux

package supervisor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"agentmarket/agentruntime"
)

// invalidResult is a result that the agent got wrong. Other errors are the
// platform's.
type invalidResult struct{ text string }

func (e invalidResult) Error() string { return e.text }

// readResult fills in the result, if there can be one: the agent exited 0 by
// itself. Its error is the platform's.
func (a *attempt) readResult() error {
	end := &a.end
	if end.fault == nil && end.stop == notStopped && end.status != nil && end.status.ExitStatus() == 0 {
		body, err := a.findResult()
		var invalid invalidResult
		switch {
		case errors.As(err, &invalid):
			end.invalid = invalid.text
		case err != nil:
			return err
		default:
			end.result = a.redacted(body)
		}
	}
	// Asked after the result: an agent that could not write one for want of
	// space should hear that.
	if end.status != nil && end.result == nil && a.diskFull(a.WorkDir) {
		end.diskFull = true
		end.diskOwn = a.DiskLimit == 0 || usesAtLeast(a.WorkDir, a.DiskLimit)
	}
	return nil
}

// redacted is a result without secrets.
func (a *attempt) redacted(body []byte) []byte {
	if body == nil {
		return nil
	}
	return a.Redact.JSON(body)
}

// findResult applies the one rule: the file if it is non-empty, otherwise the
// last non-blank line of stdout. Nil without an error: there is none.
func (a *attempt) findResult() ([]byte, error) {
	raw, err := readOutput(a.OutputFile, a.MaxResult)
	if err != nil {
		return nil, err
	}
	place := "the output file"
	if raw == nil {
		place = "the last line of stdout"
		line, over := a.stdout.last.get()
		if over {
			return nil, invalidResult{fmt.Sprintf("%s has more than %d bytes", place, a.MaxResult)}
		}
		if raw = line; raw == nil {
			return nil, nil
		}
	}
	body, err := agentruntime.CompactResult(raw)
	if err != nil {
		return nil, invalidResult{fmt.Sprintf("%s is not one JSON value: %v", place, err)}
	}
	return body, nil
}

// readOutput reads the file that the agent may have left, or nil where it is
// absent or empty. The path is the agent's to play with, so no link is followed,
// neither the file nor its directory, and no open blocks on a FIFO.
func readOutput(path string, max int) ([]byte, error) {
	const flags = syscall.O_RDONLY | syscall.O_NOFOLLOW | syscall.O_NONBLOCK | syscall.O_CLOEXEC
	dir, err := syscall.Open(filepath.Dir(path), flags|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, openError("directory", err)
	}
	defer syscall.Close(dir)
	fd, err := syscall.Openat(dir, filepath.Base(path), flags, 0)
	if err != nil {
		return nil, openError("file", err)
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("stat the output file: %w", err)
	case !info.Mode().IsRegular():
		return nil, invalidResult{"the output file is not a regular file"}
	case info.Size() > int64(max):
		return nil, invalidResult{fmt.Sprintf("the output file has %d bytes, at most %d are allowed", info.Size(), max)}
	case info.Size() == 0:
		return nil, nil
	}
	// The limit again: a process that escaped may still write.
	body, err := io.ReadAll(io.LimitReader(file, int64(max)+1))
	if err != nil {
		return nil, fmt.Errorf("read the output file: %w", err)
	}
	if len(body) > max {
		return nil, invalidResult{fmt.Sprintf("the output file has more than %d bytes", max)}
	}
	return body, nil
}

// openError tells an output that is absent (nil), one that the agent spoilt and
// a failure of the platform.
func openError(what string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOENT):
		return nil
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENXIO):
		return invalidResult{"the output " + what + " is not a regular one"}
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return invalidResult{"the output " + what + " is not readable"}
	default:
		return fmt.Errorf("open the output %s: %w", what, err)
	}
}
