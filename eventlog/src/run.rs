//! The partition loop that both adapters share.
