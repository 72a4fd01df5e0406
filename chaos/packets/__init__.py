"""Single packets held up, out of order, damaged or doubled on their way into a host: its cable is cut, and we are the splice.

`kinds` says what can be done to them, `wire` is one end of the cable, `server` the process between the two. It needs neither a
module of the kernel nor a program that a machine may lack: netem and the packet queue of nftables are missing from many kernels.
"""
