package journal

import (
	"fmt"
	"log/slog"
	"sync/atomic"
)

// serverLog hands the storage's log on: what an operator must know, and the
// rest only for those who debug.
type serverLog struct {
	log     *slog.Logger
	failure atomic.Pointer[string]
}

func (l *serverLog) last() string {
	if text := l.failure.Load(); text != nil {
		return *text
	}
	return "it gave no reason"
}

// Noticef tells of starts and stops.
func (l *serverLog) Noticef(format string, v ...any) {
	l.log.Debug("storage: " + fmt.Sprintf(format, v...))
}

// Debugf is switched off.
func (l *serverLog) Debugf(string, ...any) {}

// Tracef is switched off.
func (l *serverLog) Tracef(string, ...any) {}

// Warnf tells of what may need a hand.
func (l *serverLog) Warnf(format string, v ...any) {
	l.log.Warn("storage: " + fmt.Sprintf(format, v...))
}

// Errorf tells of failures, and keeps the last.
func (l *serverLog) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.failure.Store(&text)
	l.log.Error("storage: " + text)
}

// Fatalf is the storage's last word; it does not end the process.
func (l *serverLog) Fatalf(format string, v ...any) { l.Errorf(format, v...) }
