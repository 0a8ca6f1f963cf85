//go:build linux

package supervisor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"agentmarket/agentruntime"
)

// Install copies the program in the file source into the directory dest, as the
// contract names it. An init container does this on nodes without image
// volumes. The copy appears complete or not at all.
func Install(source, dest string) (err error) {
	in, err := os.Open(source)
	if err != nil {
		return fmt.Errorf("install the supervisor: %w", err)
	}
	defer in.Close()
	out, err := os.CreateTemp(dest, ".agent-runtime-*")
	if err != nil {
		return fmt.Errorf("install the supervisor: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(out.Name())
			err = fmt.Errorf("install the supervisor: %w", err)
		}
	}()
	_, err = io.Copy(out, in)
	// Everybody may read and run it: the agent's user is not the installer's.
	if err = errors.Join(err, out.Chmod(0o555), out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), filepath.Join(dest, filepath.Base(agentruntime.SupervisorPath)))
}
