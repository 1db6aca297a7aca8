// Package targetfile reads the file that describes a farm to be judged: its
// members, how a browser uses it, what it promises, and the doors it has
// beside HTTP. Reading is strict, and every fault comes with its line and how
// to mend it.
package targetfile
