package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
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

// statusWidth is the most that a status line may take: one that wraps can't be
// overwritten.
const statusWidth = 79

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
		p.show(line(), !p.terminal)
	}
}

// say shows a line that stays.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.show(fmt.Sprintf(format, args...), true)
}

// show writes over the status line that stands, with blanks for what is left of
// it. A line that stays is not written over. Nothing is lost but progress when
// it can't be shown.
func (p *progress) show(line string, stays bool) {
	width := utf8.RuneCountInString(line)
	if p.terminal && !stays && width > statusWidth {
		width, line = statusWidth, string([]rune(line)[:statusWidth])
	}
	if p.terminal {
		line = "\r" + line + strings.Repeat(" ", max(0, p.width-width))
	}
	p.width = width
	if stays {
		line, p.width = line+"\n", 0
	}
	_, _ = io.WriteString(p.w, line)
}
