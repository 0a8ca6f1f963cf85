package main

import (
	"fmt"
	"os"
	"time"
)

// progress prints the steps of the tour with their time since the start.
type progress struct{ start time.Time }

func newProgress() *progress { return &progress{start: time.Now()} }

func (p *progress) step(format string, args ...any) {
	fmt.Fprintf(os.Stdout, "[%6.1fs] %s\n", time.Since(p.start).Seconds(), fmt.Sprintf(format, args...))
}
