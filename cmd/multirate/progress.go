package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// progress shows how far things are: one status line that is overwritten on a
// terminal, a plain line every few seconds elsewhere.
type progress struct {
	w        io.Writer
	terminal bool
	pause    time.Duration

	mu    sync.Mutex
	last  time.Time
	width int // of the status line that stands
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, pause: 2 * time.Second}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	if p.terminal {
		p.pause = 100 * time.Millisecond
	}
	return p
}

// status shows what line returns, unless something was shown a moment ago.
func (p *progress) status(line func() string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.last) >= p.pause {
		p.last = now
		p.show(line())
		if !p.terminal {
			fmt.Fprintln(p.w)
		}
	}
}

// say shows a line that stays.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.show(fmt.Sprintf(format, args...))
	fmt.Fprintln(p.w)
	p.width = 0
}

// show writes over the status line that stands, with blanks for what is left of
// it.
func (p *progress) show(line string) {
	if !p.terminal {
		fmt.Fprint(p.w, line)
		return
	}
	width := len([]rune(line))
	fmt.Fprintf(p.w, "\r%s%s", line, strings.Repeat(" ", max(0, p.width-width)))
	p.width = width
}
