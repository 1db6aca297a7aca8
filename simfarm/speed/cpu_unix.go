//go:build unix

package speed

import (
	"syscall"
	"time"
)

// ProcessCPU is what this process has spent, in user and system mode.
func ProcessCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
