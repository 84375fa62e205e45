"""The tests of aiopcap."""
