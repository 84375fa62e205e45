"""What the tests stand on: real network hosts, hand-made savefiles and independent witnesses.

Nothing in this package imports aiopcap, so an expected value made here can never agree with
the code under test merely because both share a mistake.

====================  ============================================================
module                what it offers
====================  ============================================================
``privileges``        may this process make network hosts? skip, or fail where required
``namespaces``        a network namespace of its own, and running code inside it
``veth``              two hosts joined by a cable: send, pull the plug, count, delete
``frames``            Ethernet frames as bytes
``pcapfiles``         pcap savefiles as bytes, in every variant
``pcapngfiles``       pcapng blocks as bytes
``oracle``            a reader of pcap savefiles in pure Python, and record digests
``witnesses``         what tcpdump and tshark say about a savefile
``event_loop``        how late the event loop runs while something else is going on
``resources``         open descriptors, mappings and memory of this process
====================  ============================================================
"""
