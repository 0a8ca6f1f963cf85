package main

import (
	"fmt"
	"io"
	"time"
)

// progress prints one line for each step that is done, with the time since the
// command began.
type progress struct {
	out   io.Writer
	began time.Time
}

func newProgress(out io.Writer) *progress { return &progress{out: out, began: time.Now()} }

func (p *progress) step(format string, args ...any) {
	fmt.Fprintf(p.out, "devcluster %6.1fs  %s\n", time.Since(p.began).Seconds(), fmt.Sprintf(format, args...))
}
