// Package redisstore is the common session database on Redis 7, alone or a
// cluster. Every decision of the contract is a Lua script that one server runs
// whole, between all others; the hot call, Replace, is one round trip.
//
// # One part or several
//
// A session is found by the ID in its token, and IDs are random; but a script
// may touch keys of one hash slot only, and those alone that it was given
// (https://redis.io/docs/latest/commands/eval/). So a store is made of parts,
// each a handful of keys with a hash tag of its own:
//
//   - In one part, the default, everything lies together: Create, Find and
//     Replace are one script each. On a cluster the store is then one
//     server's work, and the others' are other prefixes.
//   - In several parts, 64 say, sessions lie by their reference and IDs by
//     themselves, so that a cluster's servers share the work. What is under
//     one reference (closing, HTTP sessions) is one script still. Find takes two
//     round trips and Replace three: it looks up the reference, makes the
//     new ID lead there, and then compares and swaps in the session's record.
//
// The record alone decides: which token is current, whether the session is
// open, whether there is one. A process that ends between the steps leaves an
// ID behind that nobody was given, which leads to a record that does not know
// it, and Prune takes it away. If the replacement did not happen, the old
// token is current still. Until Prune has come, such an ID is refused as spent
// where one in one part would be unknown.
//
// While a slot moves between servers calls that meet it fail, and have changed
// no session. List and Prune go page by page: each session is seen or forgotten
// whole, not all at one instant.
//
// # Durability
//
// What was answered is as durable as the server is set up to make it: on its
// disk before the answer with appendonly yes and appendfsync always, within
// about a second with everysec
// (https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/).
// String says what Open found. Less than always can bring back a spent token or a
// closed session when the machine fails, and so can a fail-over to a replica:
// replication is asynchronous, and a cluster may lose writes it has
// acknowledged
// (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/).
// Nothing here waits for replicas.
//
// Nothing has a time to live: the server's clock is not the service's, and
// what is closed or spent is remembered until Prune says otherwise. A policy
// that evicts any key when memory is full would forget it all the same; Open
// refuses one that is in force then. With noeviction a full server refuses
// new tokens, and users can still log out.
//
// # Cost
//
// A spent ID takes about 100 bytes of the server's memory until it is pruned.
// Prune reads every session and every ID, 256 at a time.
//
// BenchmarkReplace compares Replace with the least script that compares and
// swaps a string. Redis 7.0 on two busy cores of an AMD EPYC spent 12 to 15 µs
// of CPU for each Replace and 9 to 11 µs for each of those, whether 1, 32 or 256
// callers waited, and the client as much; of the server's, 3.4 µs and 2.2 µs are
// the scripts, and the rest is reading and writing one packet a call, most of
// which clients that send several calls in a packet would spare. In several
// parts a Replace costs both some 2.3 times as much. With 256 connections in
// place of the default, ten for each core, it cost the server 20 µs.
//
// # Failures
//
// Every call ends within the time-outs of the address, by default some
// seconds. No command is sent twice, by the store or its client: a call that
// is not answered may have happened, and its error is none of the contract's.
// Servers that refuse, are silent, or hold what is not ours refuse everybody.
//
// Session IDs are stored in clear, and SLOWLOG and MONITOR show them: who
// may administer the server can be anybody. Of the server's rights the store
// needs EVALSHA and EVAL with the commands of its scripts, HMGET, HSCAN, TYPE,
// UNLINK (Remove), and, to say how durable it is and to know a cluster, INFO
// and CONFIG GET.
package redisstore
